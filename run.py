"""python run.py FILE. The import stands inside the guard: a starting replica imports this file."""

if __name__ == "__main__":
    from harness.__main__ import main

    raise SystemExit(main())
