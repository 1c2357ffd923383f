"""Tables and pictures of these pages, made of what commands print and of data/.

    python docs/make.py benchmarks                the tables of docs/benchmarks.md, of data/
    python docs/make.py benchmarks --rows solve rows.jsonl
                                                  the same with new rows: what a script of
                                                  tests/bench printed with --json, one a line
    python docs/make.py claims                    the table of docs/claims.md: minutes, as it runs
                                                  `pma-grid validate --markdown`
    python docs/make.py claims --printed FILE     the same of what that command printed before
    python docs/make.py example                   runs the first example of the README, which draws
                                                  docs/first.png

A table stands between the two comments `<!-- table: NAME -->` and `<!-- end -->` of a page; the
rest of the page is written by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BENCHMARKS = ROOT / "data" / "benchmarks.json"
PEERS = ROOT / "data" / "peers.json"
# Errors of the map to which the table of methods gives seconds.
MAP_ERRORS = (1e-2, 1e-3, 1e-4)


def filled(text: str, tables: dict[str, str]) -> str:
    """A page with its tables put in; each name must stand on the page, and no other."""
    marked = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
    names = [match[2] for match in marked.finditer(text)]
    if sorted(names) != sorted(tables):
        raise SystemExit(f"the page has tables {names}, the data {list(tables)}")
    return marked.sub(lambda match: f"{match[1]}{tables[match[2]]}\n{match[3]}", text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- benchmarks ----------------------------------------------------------------------------------


def cell(value: Any, form: str) -> str:
    """A value as text: words as they are, numbers in their format without idle zeros."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else format(value, form)
    return re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].strip('+')}{m[2]}", text)


def benchmark(record: dict[str, Any]) -> str:
    """The table of a record, with the commands that print its rows."""
    columns = record["columns"]
    rows = [
        [cell(row.get(key), form) for key, (_, form) in columns.items()] for row in record["rows"]
    ]
    commands = ", ".join(f"`{command}`" for command in record["commands"])
    return (
        f"{table([title for title, _ in columns.values()], rows)}\n\n{commands}; {record['date']}"
    )


def race(results: dict[str, Any]) -> str:
    """Seconds of the processor in which each method has a map so close, problem by problem."""
    rows = []
    for problem, method in itertools.product(results["problems"], results["methods"]):
        known = [
            row for row in results["rows"]
            if (row["problem"], row["method"]) == (problem, method) and row["map_l2"] is not None
        ]  # fmt: skip
        if not known:
            continue
        first = [
            min((row["seconds"] for row in known if row["map_l2"] <= error), default=None)
            for error in MAP_ERRORS
        ]
        rows.append([problem, results["methods"][method], *(cell(s, ".2g") for s in first)])
    return table(["problem", "method", *(f"map to {cell(e, '.0e')}" for e in MAP_ERRORS)], rows)


def benchmarks_page(text: str) -> str:
    """docs/benchmarks.md with the tables of data/."""
    records = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
    tables = {name: benchmark(record) for name, record in records.items()}
    tables["peers"] = race(json.loads(PEERS.read_text(encoding="utf-8")))
    return filled(text, tables)


def replace_rows(name: str, path: Path, date: str) -> None:
    """Put what a benchmark printed into data/benchmarks.json, with the day it ran."""
    records = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = records[name]["columns"]
    printed = [json.loads(line) for line in lines]
    rows = [{k: row[k] for k in keys if row.get(k) is not None} for row in printed]
    records[name] |= {"date": date, "rows": rows}
    BENCHMARKS.write_text(
        json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


# ---- claims --------------------------------------------------------------------------------------


def claims_page(text: str, printed: str) -> str:
    """docs/claims.md with the table that `pma-grid validate --markdown` printed."""
    from pma_grid import claims

    lines = printed.splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    conclusion = re.search(r"\d+ of \d+ checks hold", printed)
    assert conclusion is not None, "the last line of the check is missing"
    if len(rows) != len(claims.NAMES):
        raise SystemExit(f"{len(rows)} claims were printed, of {len(claims.NAMES)}")
    named = [f"| `{name}` {row}" for name, row in zip(claims.NAMES, rows, strict=True)]
    head = table(["name", "claim", "for example", "predicted", "measured", "checks"], [])
    return filled(text, {"claims": "\n".join([head, *named, "", f"{conclusion[0]}."])})


def validated() -> str:
    """What the full check of the claims prints."""
    command = [sys.executable, "-m", "pma_grid", "validate", "--markdown"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# ---- the first example ---------------------------------------------------------------------------


def first_example() -> tuple[str, str]:
    """The first example of the README, and the lines that it is said to print."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```python\n(.*?)```\n.*?```text\n(.*?)```", readme, re.DOTALL)
    assert match is not None, "README.md has no example with its output"
    return match[1], match[2]


def run_example(folder: Path) -> str:
    """Run it in a folder, where it leaves its picture; what it printed."""
    code, _ = first_example()
    printed, here = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
    finally:
        os.chdir(here)
    return printed.getvalue()


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("benchmarks", "claims", "example"))
    parser.add_argument("--rows", nargs=2, metavar=("TABLE", "FILE"), help="new rows of a table")
    parser.add_argument("--date", help="of the new rows; default today")
    parser.add_argument("--printed", type=Path, metavar="FILE", help="claims: of an earlier run")
    options = parser.parse_args()
    if options.what == "example":
        printed = run_example(DOCS)
        print(printed, end="")
        if printed != first_example()[1]:
            raise SystemExit("README.md says otherwise")
        return
    page = DOCS / f"{options.what}.md"
    text = page.read_text(encoding="utf-8")
    if options.what == "claims":
        printed = options.printed.read_text(encoding="utf-8") if options.printed else validated()
        text = claims_page(text, printed)
    else:
        if options.rows:
            from datetime import date

            name, path = options.rows
            replace_rows(name, Path(path), options.date or date.today().isoformat())
        text = benchmarks_page(text)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
