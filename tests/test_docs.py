"""The pages: links lead somewhere, tables are those that their commands make, examples print so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import pma_grid as pma

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "data/README.md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script docs/make.py."""
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _anchors(page: Path) -> set[str]:
    """What headings of a page are linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http", "mailto")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(found), f"{page.name} links to {target}"


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # tells of what is gone
        return
    for name in re.findall(r"`([\w./]+/[\w.]*\.py)`", page.read_text(encoding="utf-8")):
        places = (ROOT, ROOT / "pma_grid", *(ROOT / "pma_grid" / "flow").glob("stepping"))
        assert any((place / name).exists() for place in places), f"{page.name} names {name}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_first_example_prints_what_the_readme_says(make: ModuleType, tmp_path: Path) -> None:
    assert make.run_example(tmp_path) == make.first_example()[1]
    assert (tmp_path / "first.png").exists()


def test_tables_of_benchmarks_are_those_of_the_data(make: ModuleType) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert make.benchmarks_page(text) == text


def test_the_page_of_claims_has_them_all() -> None:
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| ", text, re.MULTILINE)
    told = [(name, statement.replace("\\|", "|")) for name, statement in rows]
    assert told == [(name, pma.claims.statement(name)) for name in pma.claims.NAMES]
