"""`python -m paxbank`: the same as the command `paxbank`. The import stands inside the guard: a
starting replica may import this file."""

if __name__ == "__main__":
    from harness.__main__ import main

    raise SystemExit(main())
