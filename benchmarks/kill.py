"""Ends commands by signals and a full disk at random moments, does them again, and compares: ``make kill``.

Every round draws a command, one to three faults and their moments from the seed and its own number. After them the
command is called again and left alone: it must end as it does without faults, with every weight, map and table equal
bit for bit, no temporary left, no process left running, and no traceback. Rounds that are in ``rounds.jsonl`` are not
done again, so an interrupted campaign goes on where it was.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> int:
    """Plays the rounds, prints counts by command and fault, and returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/kill"))
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--only", nargs="+", help="some of the commands")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop beginning rounds after so many")
    given = parser.parse_args()
    from killing import COMMANDS, Campaign, drawn, preload

    preload()
    given.out.mkdir(parents=True, exist_ok=True)
    campaign, record = Campaign(given.out), given.out / "rounds.jsonl"
    campaign.prepare()
    commands = COMMANDS if given.only is None else {name: COMMANDS[name] for name in given.only}
    rows = (
        {row["number"]: row for row in map(json.loads, record.read_text("utf-8").splitlines())}
        if record.is_file()
        else {}
    )
    began = time.monotonic()
    with record.open("a") as stream:
        for number in range(given.rounds):
            if number in rows:
                continue
            if given.minutes and time.monotonic() - began > 60 * given.minutes:
                break
            rows[number] = campaign.play(drawn(given.seed, number, commands))
            stream.write(json.dumps(rows[number]) + "\n")
            stream.flush()
            for problem in rows[number]["problems"]:
                print(f"round {number} ({rows[number]['command']}): {problem}", flush=True)
    return report(list(rows.values()))


def report(rows: list[dict]) -> int:
    """Counts by command and fault; 1 if a round went wrong."""
    signs = ("SIGKILL", "SIGTERM", "SIGINT", "ENOSPC")
    print(f"\n| command | rounds | {' | '.join(signs)} | landed | wrong |\n|---|{'---|' * (len(signs) + 3)}")
    for command in (*sorted({row["command"] for row in rows}), "all"):
        own = [row for row in rows if command in (row["command"], "all")]
        counts = Counter(fault["sign"] for row in own for fault in row["faults"])
        landed, wrong = sum(row["landed"] for row in own), sum(bool(row["problems"]) for row in own)
        cells = [command, len(own), *(counts[sign] for sign in signs), landed, wrong]
        print(f"| {' | '.join(map(str, cells))} |")
    return int(any(row["problems"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
