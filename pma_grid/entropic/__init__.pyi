from . import peers as peers
