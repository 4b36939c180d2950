"""Check the wheel: under 1 MB, one top-level name, and the typing marker and page templates inside.

python benchmarks/wheel.py FOLDER
"""

import json
import sys
import zipfile
from pathlib import Path


def main() -> None:
    (path,) = Path(sys.argv[1]).glob("*.whl")
    names = zipfile.ZipFile(path).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    size = path.stat().st_size
    print(json.dumps({"benchmark": "wheel", "case": path.name, "method": "apheleia", "metric": "bytes", "value": size}))
    if size >= 1_000_000 or top != {"apheleia"} or "apheleia/py.typed" not in names:
        sys.exit(f"wheel: {size} bytes, top-level names {sorted(top)}; expected under 1 MB and apheleia alone, with py.typed.")
    missing = {"apheleia/report/templates/report.html.j2"} - set(names)
    if missing:
        sys.exit(f"wheel: {sorted(missing)} missing.")


if __name__ == "__main__":
    main()
