from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skytrail.errors import RunError
from skytrail.kernel.census import Census
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.worker import NamespaceWorker, current_cookie


@pytest.fixture
def census(worker: NamespaceWorker) -> Iterator[Census]:
    made = Census(worker, Roots(), every=True)
    yield made
    made.close()


def named(census: Census, name: str) -> Namespace | None:
    return next((namespace for namespace in census.namespaces() if namespace.name == name), None)


def test_alone_our_own_namespace_needs_no_privilege_and_no_number(worker: NamespaceWorker) -> None:
    census = Census(worker, Roots(), every=False)
    status = Path("/proc/self/ns/net").stat()
    assert census.namespaces() == [Namespace(current_cookie(), status.st_ino, status.st_dev, own=True)]
    assert census.cookie_of(None) == current_cookie()
    assert census.refresh(processes=True) == []
    census.close()


@pytest.mark.kernel
def test_a_namespace_is_found_once_and_told_again_when_its_name_changes(census: Census, lab: Any) -> None:
    name = lab.netns("a")
    first = [namespace for namespace in census.refresh(processes=True) if namespace.name == name]
    assert len(first) == 1
    assert [one for one in census.refresh(processes=True) if one.cookie == first[0].cookie] == []
    with Path(f"/run/netns/{name}").open():
        lab.ip("netns", "del", name)
        renamed = [one for one in census.refresh(processes=True) if one.cookie == first[0].cookie]
        assert [namespace.name for namespace in renamed] == [None]


@pytest.mark.kernel
def test_a_namespace_with_two_names_is_one(census: Census, lab: Any) -> None:
    process = lab.process()
    for suffix in "ba":
        lab._names.append(lab.name(suffix))
        lab.ip("netns", "attach", lab.name(suffix), str(process.pid))
    census.refresh(processes=True)
    inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    assert [one.name for one in census.namespaces() if one.inode == inode] == [lab.name("a")]


@pytest.mark.kernel
def test_the_hosts_is_that_of_process_1_and_not_our_own_elsewhere(worker: NamespaceWorker, lab: Any, tmp_path: Path) -> None:
    name = lab.netns("a")
    (tmp_path / "1/ns").mkdir(parents=True)
    (tmp_path / "1/ns/net").symlink_to(f"/run/netns/{name}")
    (tmp_path / "self").symlink_to("/proc/self")
    census = Census(worker, Roots(proc=tmp_path), every=True)
    try:
        census.refresh(processes=True)
        found = named(census, name)
        assert found
        assert (found.of_host, census.own.of_host) == (True, False)
    finally:
        census.close()


@pytest.mark.kernel
def test_our_own_namespace_may_get_a_name_and_stays_our_own(census: Census, lab: Any) -> None:
    process = lab.process(in_new_namespace=False)
    lab._names.append(lab.name("own"))
    lab.ip("netns", "attach", lab.name("own"), str(process.pid))
    census.refresh(processes=True)
    assert census.own.own
    assert census.own.name == lab.name("own")
    assert len([one for one in census.namespaces() if one.inode == census.own.inode]) == 1


@pytest.mark.kernel
def test_a_namespace_that_may_not_be_entered_is_left_out_and_tried_again(
    census: Census, lab: Any, worker: NamespaceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = lab.netns("a")

    def refuse(*_: object) -> None:
        raise RunError("no")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run", refuse)
        census.refresh(processes=True)
        assert named(census, name) is None
    census.refresh(processes=True)
    assert named(census, name) is not None


@pytest.mark.kernel
def test_a_released_number_of_a_living_namespace_is_not_believed(census: Census, lab: Any) -> None:
    name = lab.netns("a")
    census.refresh(processes=True)
    namespace = named(census, name)
    assert namespace is not None
    assert namespace.nsid is not None
    assert census.number_released(namespace.nsid) is None
    lab.ip("netns", "del", name)
    gone = lab.until(lambda: census.number_released(namespace.nsid))
    assert gone.cookie == namespace.cookie
    assert census.find(namespace.cookie) is None
    assert census.number_released(namespace.nsid) is None


@pytest.mark.kernel
def test_an_audit_forgets_the_dead_and_keeps_the_living(census: Census, lab: Any) -> None:
    dead, living = lab.netns("a"), lab.netns("b")
    process = lab.process()
    census.refresh(processes=True)
    gone = named(census, dead)
    lab.ip("netns", "del", dead)
    forgotten = census.audit()
    assert gone in forgotten
    assert named(census, living) is not None
    inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    assert [one.inode for one in census.namespaces() if one.inode == inode] == [inode]
    assert census.own in census.namespaces()


@pytest.mark.kernel
def test_who_made_a_namespace_is_known_where_he_made_it_in_a_user_namespace_of_his_own(census: Census, lab: Any) -> None:
    user = 61_234
    made = {
        lab.started(
            "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "unshare", "--map-root-user", "-n"
        ): user,
        lab.started("unshare", "--map-root-user", "-n"): 0,
        lab.started("unshare", "-n"): 0,
    }
    census.refresh(processes=True)
    found = {one.inode: one.user for one in census.namespaces()}
    assert {process: found[Path(f"/proc/{process}/ns/net").stat().st_ino] for process in made} == made
