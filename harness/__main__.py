"""The `paxbank` command. Imports nothing at the top: a starting replica may import this file."""


def main() -> int:
    """Run the command line; returns the exit code, also for Ctrl-C while it is being imported."""
    try:
        from harness.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
