"""The targets that the figures are held against. They are said, never tested: a figure depends on
the machine and on what else runs there."""


def judge(sizes, hashed):
    """Prints every target with its figure; a target whose figures were not taken says so."""
    print("\ntargets")
    verdicts = []

    def target(what, figure, goal, fulfilled):
        try:
            value = figure()
        except (KeyError, TypeError, ZeroDivisionError):
            value = None
        verdict = "not measured" if value is None else "met" if fulfilled(value) else "MISSED"
        value = None if value is None else round(value, 3)
        verdicts.append({"target": what, "goal": goal, "value": value, "verdict": verdict})
        print(f"  {verdict:12} {what}: {'-' if value is None else f'{value:,}'} (goal: {goal})")

    def fact(jobs, scenario, tool, what, which="median"):
        found = sizes[jobs][scenario][tool][what]
        return found[which] if isinstance(found, dict) else found

    def ratio(jobs, scenario, other, what):
        return fact(jobs, scenario, "rematch", what) / fact(jobs, scenario, other, what)

    at_most = lambda limit: lambda value: value <= limit
    at_least = lambda limit: lambda value: value >= limit

    for what in ["wall", "cpu"]:
        figure = lambda: ratio(10_001, "noop", "ninja", what)
        target(f"no-op of 10,001 jobs, {what}, over ninja's", figure, "≤ 1", at_most(1))
    for scenario, words in [
        ("status", "`dvc status` over `rematch status`"),
        ("noop", "`dvc repro` over `rematch run`, nothing to do"),
    ]:
        figure = lambda: 1 / ratio(5_000, scenario, "dvc", "wall")
        target(f"{words}, 5,000 jobs, wall", figure, "≥ 1,000", at_least(1000))
    for scenario in ["cold", "noop"]:
        mb = lambda jobs: fact(jobs, scenario, "rematch", "peak_mib") * 2**20 / 1e6
        target(f"peak memory of 10,001 jobs, {scenario}, MB", lambda: mb(10_001), "< 100", lambda value: value < 100)
        growth = lambda: mb(100_001) / mb(10_001)
        target(f"peak memory of 100,001 jobs over that of 10,001, {scenario}", growth, "≤ 10", at_most(10))
    for what in ["wall", "cpu"]:
        figure = lambda: ratio(1_001, "cold", "make", what)
        target(f"cold run of 1,001 jobs, {what}, over make's", figure, "≤ 2", at_most(2))

    def beside_its_jobs():
        # CPU, since 3 jobs in a row cannot use a second core.
        each = fact(10_001, "cold", "rematch", "cpu") / 10_001
        return (fact(10_001, "change1", "rematch", "cpu") - 3 * each) / fact(10_001, "noop", "rematch", "cpu")

    words = "change in one chain of 10,001 jobs, cpu beside its 3 jobs, over the no-op's"
    target(words, beside_its_jobs, "≤ 1.5", at_most(1.5))

    for kind, words, least in [("large", "rate on a large file", 0.9), ("small", "rate on small files", 1)]:
        for name in (hashed or {}).get(kind, {"not taken": None}):
            figure = lambda: hashed[kind][name]["b3sum"]["our_rate"]["median"]
            target(f"{words}, {name}, over b3sum's", figure, f"≥ {least}", at_least(least))
    figure = lambda: hashed["small"]["stat cache knows them"]["files_opened"]
    target("files opened that the stat cache knows", figure, "0", at_most(0))
    return verdicts
