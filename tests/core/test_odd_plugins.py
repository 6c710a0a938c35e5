"""Every odd plugin is installed as a real distribution, all of them at once."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from isthmus.manager import discover

SOURCES = Path(__file__).parent / "odd_plugins"

# module: status, what the reason must name
ODD = {
    "import_error": ("failed", "no_such_module"),
    "system_exit": ("failed", "SystemExit: no licence"),
    "base_exception": ("failed", "Stop: a test was skipped"),
    "unprintable": ("failed", "Mute"),
    "misspelt_hook": ("failed", "'isthmus_stratgies', the nearest is 'isthmus_strategies'"),
    "unknown_argument": ("failed", "isthmus_strategies asks for ['config']"),
    "unmarked_hook": ("failed", "isthmus_strategies lacks @hookimpl"),
    "no_hooks": ("no-hooks", "none of the isthmus_ hooks"),
    "old_api": ("incompatible", "plugin API 0, this is 1"),
    "hook_raises": ("failed", "isthmus_strategies: ValueError: broken inside"),
    "hook_exits": ("failed", "isthmus_evaluators: SystemExit: 3"),
    "half_way": ("failed", "OSError: disk gone half way"),
    "returns_none": ("failed", "'NoneType' object is not iterable"),
    "not_a_strategy": ("failed", "<class 'dict'> is not a subclass of Strategy"),
    "an_instance": ("failed", "is not a subclass of Strategy"),
    "bad_slug": ("failed", "'Odd Strategy', which is no lower-case-slug"),
    "abstract": ("failed", "is abstract, it lacks _adapt"),
    "nameless": ("failed", "needs a name (str), has None"),
    "no_family": ("failed", "needs a family (str), has None"),
    "no_needs": ("failed", "needs a needs (Needs), has None"),
    "undeclared_labels": ("failed", "needs a reads_labels (bool), has None"),
    "name_twice": ("failed", "are both called 'odd-name-twice'"),
    "claims_coral": ("conflict", "'coral' is claimed by plugin 'alignment' of isthmus and plugin"),
    "twin_one": ("conflict", "plugin 'twin' of odd-twin-one and plugin 'twin' of odd-twin-two"),
    "twin_two": ("conflict", "plugin 'twin' of odd-twin-one and plugin 'twin' of odd-twin-two"),
    "self_clash": ("conflict", "plugin 'left' of odd-self-clash and plugin 'right' of odd-"),
    "unresolvable": ("failed", "loading odd_twin_one:Absent: AttributeError"),
    "a_class": ("ok", ""),
    "same_class": ("ok", ""),
    "newer_hook": ("ok", ""),
    "chatty": ("ok", ""),
}
ENTRY_POINTS = {  # where it is not one, of the module's name, to the module
    "twin_one": {"twin": "odd_twin_one"},
    "twin_two": {"twin": "odd_twin_two"},
    "self_clash": {"left": "odd_self_clash:Left", "right": "odd_self_clash:Right"},
    "same_class": {"once": "odd_same_class", "again": "odd_same_class"},
    "a_class": {"a-class": "odd_a_class:Plugin"},
    "unresolvable": {"unresolvable": "odd_twin_one:Absent"},
}

REPORT = """
import json, sys
from isthmus.manager import discover
found = discover().everything()

def ask(name):
    try:
        return found.strategies[name].__module__
    except Exception as error:
        return [type(error).__name__, str(error), getattr(error, "hint", None)]

json.dump({
    "plugins": [[p.name, p.dist, p.version, p.status, p.reason] for p in found.plugins],
    "strategies": {name: dist for name, dist, _ in found.strategies.items()},
    "others": [*found.evaluators, *found.datasets],
    "asked": {name: ask(name) for name in [*found.strategies, *sys.argv[1:]]},
}, sys.stdout)
"""
ASKED = ["coral", "twin", "odd-self-clash", "odd-self-clash:odd-self-clash", "odd-half-way"]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder into which pip has installed one distribution per odd plugin."""
    folder = tmp_path_factory.mktemp("site")
    wheels = [write_wheel(tmp_path_factory.mktemp("wheels"), odd) for odd in ODD]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-compile", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([*pip, *map(str, wheels)], check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def report(site):
    """What a fresh process finds, which also must have written nothing else to stdout."""
    done = python(REPORT, *ASKED, path=[site])
    return {**json.loads(done.stdout), "stderr": done.stderr}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_plugin_is_listed_with_its_reason(report, odd):
    status, reason = ODD[odd]
    rows = [row for row in report["plugins"] if row[1] == distribution(odd)]
    assert {row[0] for row in rows} == set(entry_points(odd))
    for _, _, version, found, said in rows:
        assert (version, found) == ("1.0", status), said
        assert reason in said if reason else said == ""
        assert "\n" not in said


def test_every_source_is_installed():
    assert {p.stem for p in SOURCES.glob("*.py")} == set(ODD) - {"unresolvable"}


def test_every_built_in_works_beside_them(report):
    alone = {(p.name, p.status) for p in discover(third_party=False).everything().plugins}
    own = [row for row in report["plugins"] if row[1] == "isthmus"]
    assert {(name, status) for name, _, _, status, _ in own} == alone
    assert len(own) == 9
    assert all(row[3] == "ok" for row in own if row[3] != "no-hooks"), own
    assert own == report["plugins"][:9]  # the built-ins are listed first


def test_sound_strategies_of_strangers_are_offered(report):
    for name in ("odd-a-class", "odd-same-class", "odd-newer-hook", "odd-chatty"):
        assert report["strategies"][name] == name
        assert report["asked"][name] == name.replace("-", "_")


def test_a_plugin_that_broke_half_way_offers_nothing(report):
    kind, message, hint = report["asked"]["odd-half-way"]
    assert (kind, message) == ("PluginError", "no strategy is called 'odd-half-way'")
    assert "isthmus plugins says what is wrong with" in hint
    assert "half-way" in hint


def test_a_contested_name_is_an_error_that_names_both_and_the_way_out(report):
    kind, message, hint = report["asked"]["twin"]
    assert kind == "PluginError"
    assert "odd-twin-one" in message and "odd-twin-two" in message
    assert hint == "write odd-twin-one:twin or odd-twin-two:twin"
    assert report["asked"]["odd-twin-one:twin"] == "odd_twin_one"
    assert report["asked"]["odd-twin-two:twin"] == "odd_twin_two"


def test_a_built_in_whose_name_is_claimed_stays_reachable_and_blameless(report):
    kind, message, hint = report["asked"]["coral"]
    assert kind == "PluginError"
    assert "isthmus" in message and "odd-claims-coral" in message
    assert hint == "write isthmus:coral or odd-claims-coral:coral"
    assert report["asked"]["isthmus:coral"].startswith("isthmus_alignment.")
    assert report["asked"]["odd-claims-coral:coral"] == "odd_claims_coral"


@pytest.mark.parametrize("name", ["odd-self-clash", "odd-self-clash:odd-self-clash"])
def test_a_name_claimed_twice_within_one_distribution_cannot_be_told_apart(report, name):
    kind, message, hint = report["asked"][name]
    assert kind == "PluginError"
    assert "'left'" in message and "'right'" in message
    assert hint == "one of them must be renamed"
    assert name not in report["strategies"]


def test_all_that_is_listed_can_be_asked_for(report):
    assert all(isinstance(report["asked"][name], str) for name in report["strategies"])


def test_what_plugins_print_does_not_reach_stdout(report):
    for said in ("hello from a plugin", "a warning from a plugin", "asked for strategies"):
        assert said in report["stderr"]


@pytest.mark.parametrize(("switch", "imported"), [("1", False), ("0", True), ("", True)])
def test_the_switch_leaves_strangers_unimported(site, tmp_path, switch, imported):
    code = (
        "import sys; from isthmus.manager import discover;"
        "print({p.dist for p in discover().plugins} == {'isthmus'},"
        "any('odd_' in m for m in sys.modules))"
    )
    mark = tmp_path / "imported"
    done = python(code, path=[site], ISTHMUS_DISABLE_PLUGIN_AUTOLOAD=switch, ODD_MARK=str(mark))
    assert done.stdout.split() == [str(not imported), str(imported)]
    assert mark.exists() == imported


def test_discovery_imports_nothing_heavy():
    code = (
        "import sys, isthmus, isthmus.manager; isthmus.manager.discover();"
        "print(*{'torch', 'sklearn', 'scipy', 'onnx', 'matplotlib'} & set(sys.modules))"
    )
    assert python(code).stdout.strip() == ""


def test_a_distribution_seen_twice_is_the_one_that_imports_find(tmp_path, monkeypatch):
    for version in ("1.0", "2.0"):
        wheel = write_wheel(tmp_path, "no_hooks", version)
        zipfile.ZipFile(wheel).extractall(tmp_path / version)
        monkeypatch.syspath_prepend(tmp_path / version)
    found = [p for p in discover().plugins if p.dist == "odd-no-hooks"]
    assert [(p.version, p.status) for p in found] == [("2.0", "no-hooks")]


@pytest.mark.parametrize("text", ["[isthmus]\nno equals sign\n", b"[isthmus]\n\xff = odd\n"])
def test_a_malformed_distribution_costs_only_itself(tmp_path, monkeypatch, text):
    info = tmp_path / "odd_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: odd-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    remains = tmp_path / "nameless-1.0.dist-info"  # of a package that was half uninstalled
    remains.mkdir()
    (remains / "entry_points.txt").write_text("[isthmus]\nodd = odd_nameless\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert {p.name for p in discover().plugins} >= {"alignment", "baselines"}


def distribution(odd: str) -> str:
    return f"odd-{odd}".replace("_", "-")


def entry_points(odd: str) -> dict[str, str]:
    return ENTRY_POINTS.get(odd, {odd.replace("_", "-"): f"odd_{odd}"})


def write_wheel(folder: Path, odd: str, version: str = "1.0") -> Path:
    """Write a wheel of one module by hand: no build backend, no network."""
    info = f"odd_{odd}-{version}.dist-info"
    points = "".join(f"{name} = {value}\n" for name, value in entry_points(odd).items())
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution(odd)}\n"
        f"Version: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: isthmus\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[isthmus]\n{points}",
    }
    if (source := SOURCES / f"{odd}.py").exists():
        files[f"odd_{odd}.py"] = source.read_text()
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = folder / f"odd_{odd}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        for name, text in files.items():
            z.writestr(name, text)
    return wheel


def python(code: str, *args: str, path=(), **env: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not re.match("ISTHMUS_|PYTHON|ODD_", k)}
    clean |= {"PYTHONPATH": os.pathsep.join(map(str, path)), **env}
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done
