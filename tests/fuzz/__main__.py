"""Runs a campaign: ``python -m fuzz --inputs 20000 --seed 1 --out out/fuzz``. A second call goes on with the first."""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from fuzz.campaign import GOOD, Finding, drawn, findings, prepared, table
from fuzz.targets import targets


def main() -> int:
    """0 where nothing was found that must not be."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="about so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="folder for findings.jsonl and table.md")
    parser.add_argument("--only", default="", help="readers whose names begin so")
    parser.add_argument("--number", type=int, help="one input of --only alone, to look into it")
    given = parser.parse_args()
    chosen = tuple(target for target in targets() if target.name.startswith(given.only))
    if not chosen:
        parser.error(f"no reader's name begins with '{given.only}'")
    given.out.mkdir(parents=True, exist_ok=True)
    log = given.out / f"findings-{given.seed}.jsonl"
    found = [Finding(**json.loads(line)) for line in log.read_text("utf-8").splitlines()] if log.is_file() else []
    done = {(finding.target, finding.number) for finding in found}
    todo = [(t, n) for t, n in drawn(chosen, given.inputs) if (chosen[t].name, n) not in done]
    if given.number is not None:
        todo = [(t, given.number) for t in range(len(chosen))]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder, log.open("a") as stream:
        place = Path(folder)
        place.chmod(0o755)
        (place / "work").mkdir()
        seeds = prepared(chosen, place)
        (place / "work").chmod(0o777)
        for finding in findings(chosen, todo, given.seed, place, seeds):
            found.append(finding)
            stream.write(json.dumps(asdict(finding)) + "\n")
            stream.flush()
            if finding.outcome not in GOOD or given.number is not None:
                print(
                    f"{finding.target} {finding.number}: {finding.outcome} ({finding.how}) {finding.told}", flush=True
                )
    (given.out / f"table-{given.seed}.md").write_text(table(found) + "\n")
    bad = [finding for finding in found if finding.outcome not in GOOD]
    print(table(found))
    print(f"{len(found):,} inputs, {len(bad)} findings, seed {given.seed}, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
