"""Faults on links: what is read and when, and who can still talk to whom."""

import pytest

from harness.cluster.choices import Seeded
from harness.cluster.journal import Way
from harness.cluster.links import Links, Transit, from_plain
from harness.cluster.nemesis import Heal, LinkFault

LINK = (1, 3)


def under(*faults):
    links = Links()
    for fault in faults:
        links.apply(fault)
    return links


def on(kind, *links, **amounts):
    return LinkFault(kind, frozenset(links or (LINK,)), **amounts)


def transit(*faults, now=0):
    one = Transit(Seeded(1))
    one.under(under(*faults), now)
    return one


def read(one, until=10**9, link=LINK):
    """Everything that may be read, with when: (microsecond, item)."""
    found = []
    while (at := one.deadline()) is not None and at <= until:
        found += [(at, item) for of, item in one.due(at) if of == link]
    return found


def journey(*faults, messages=100, link=LINK):
    """Messages 0, 1, ... arrive one each microsecond: what befalls them, and when each is read."""
    one = transit(*faults)
    fates = [one.take(link, now, now) for now in range(messages)]
    return fates, read(one, link=link)


def test_a_whole_link_lets_everything_through_at_once():
    assert journey() == ([None] * 100, [(now, now) for now in range(100)])


def test_a_cut_goes_one_way():
    assert journey(on("cut")) == ([Way.LOST] * 100, [])
    assert journey(on("cut"), link=(3, 1)) == journey(link=(3, 1)) == journey()


def test_losses_and_copies_come_in_the_given_share():
    fates, found = journey(on("lose", percent=30), messages=1000)
    assert 250 < fates.count(Way.LOST) < 350 and len(found) == 1000 - fates.count(Way.LOST)
    fates, found = journey(on("duplicate", percent=30), messages=1000)
    assert 250 < fates.count(Way.DOUBLED) < 350 and len(found) == 1000 + fates.count(Way.DOUBLED)


def test_delayed_messages_keep_their_order():
    fates, found = journey(on("delay", least=50, most=500))
    assert set(fates) == {Way.HELD}
    assert [item for _, item in found] == list(range(100))
    assert all(at - sent >= 50 for at, sent in found) and max(found)[0] > 300


def test_reordering_lets_later_messages_overtake():
    fates, found = journey(on("reorder", percent=20))
    assert [item for _, item in found] != list(range(100))
    prompt = [item for at, item in found if at == item]
    assert prompt == sorted(prompt) == [n for n, fate in enumerate(fates) if fate != Way.HELD]
    assert 70 <= len(prompt) < 100


def test_faults_add_up_until_they_are_healed():
    links = under(on("delay", least=5, most=5), on("duplicate"))
    one = Transit(Seeded(1))
    one.under(links, 10)
    assert one.take(LINK, "a", 10) == Way.DOUBLED
    assert read(one) == [(15, "a"), (15, "a")]
    links.apply(Heal(frozenset([LINK])))
    one.under(links, 20)
    assert one.take(LINK, "b", 20) is None and read(one) == [(20, "b")]
    links.apply(on("cut", (1, 2), (2, 1)))
    links.apply(Heal())
    assert not links.states


def test_what_a_link_holds_arrives_at_once_and_in_order_when_it_is_healed():
    one = transit(on("delay", LINK, (2, 3), least=10_000, most=20_000), on("reorder", percent=50))
    for number in range(10):
        one.take(LINK, number, number)
    one.take((2, 3), "other", 10)
    one.under(under(on("delay", (2, 3), least=10_000, most=20_000)), 50)
    one.take(LINK, 10, 50)
    assert read(one, until=50) == [(50, number) for number in range(11)]
    assert not one.is_idle, "the other link still delays"
    assert read(one, link=(2, 3))[0][1] == "other"
    one.under(Links(), 60)
    assert one.is_idle


@pytest.mark.parametrize("fault", ["cut", "delay", "reorder", "duplicate"])
def test_a_notice_of_death_is_never_lost_and_never_overtakes(fault):
    for seed in range(30):
        one = Transit(Seeded(seed))
        one.under(under(on(fault, least=10, most=90)), 0)
        for now in range(20):
            one.take(LINK, "old", now)
        one.close(LINK, "died", 20)
        for now in range(21, 40):
            one.take(LINK, "new", now)
        items = [item for _, item in read(one)]
        assert items.count("died") == 1
        assert items == sorted(items, key=["old", "died", "new"].index), (fault, seed)


def test_links_travel_as_plain_values():
    links = under(on("delay", least=5, most=9), on("lose", (2, 1), percent=30))
    assert from_plain(links.to_plain()).states == links.states
