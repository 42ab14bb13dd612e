"""Runs checks for whoever reads a line for each: `ok NAME`, or `FAILED NAME: reason`."""
import sys
import traceback


def report(checks, only=()):
    for name, check in checks.items():
        if only and name not in only:
            continue
        try:
            check()
            print(f"ok {name}", flush=True)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__} {error}".split())
            print(f"FAILED {name}: {reason}", flush=True)
            traceback.print_exc(limit=-3, file=sys.stderr)
