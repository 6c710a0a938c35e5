import importlib.metadata
import sys

import pytest

from isthmus.deploy import doctor
from isthmus.deploy.doctor import examine
from isthmus.errors import ProviderUnavailable


@pytest.fixture
def versions(monkeypatch):
    """Pretend that certain packages are installed."""

    def pretend(**found):
        def version(name):
            if value := found.get(name.replace("-", "_")):
                return value
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return pretend


def finding(name):
    return doctor._isolated(name, doctor.CHECKS[name])


def test_every_check_reports_and_nothing_is_printed(capfd):
    found = examine()
    assert [f.name for f in found] == list(doctor.CHECKS)
    assert all(f.detail for f in found)
    assert {"python", "machine", "torch"} <= {f.name for f in found if f.ok}
    assert capfd.readouterr() == ("", "")


def test_two_runtimes_are_a_fault_with_its_command(versions):
    versions(onnxruntime="1.31.1", onnxruntime_gpu="1.31.1")
    found = finding("onnxruntime")
    assert not found.ok
    assert "pip install --force-reinstall" in found.command


@pytest.mark.parametrize(
    ("installed", "ok", "command"),
    [
        ({"onnxruntime_gpu": "1.31.1"}, True, ""),
        ({"onnxruntime": "1.31.1"}, True, ""),
        ({"onnxruntime_gpu": "1.27.0"}, False, "!=1.27.0"),
        ({}, False, "pip install onnxruntime-gpu"),
    ],
)
def test_runtime_packages(versions, installed, ok, command):
    versions(**installed)
    found = finding("onnxruntime")
    assert found.ok is ok
    assert command in found.command


def test_a_torchvision_of_another_torch_is_told(monkeypatch):
    class Mismatched:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Mismatched(), *sys.meta_path])
    found = finding("torchvision")
    assert not found.ok
    assert "another torch" in found.detail
    assert found.command == "pip install --force-reinstall torch torchvision"


@pytest.mark.parametrize("gpu", [True, False])
def test_a_missing_gpu_is_no_fault_but_an_unused_one_is(monkeypatch, gpu):
    create = doctor.create_session

    def no_cuda(model, device):
        if device == "cuda":
            raise ProviderUnavailable("libcurand.so.10: cannot open", hint="pip install it")
        return create(model, device)

    monkeypatch.setattr(doctor, "create_session", no_cuda)
    monkeypatch.setattr(doctor, "_has_gpu", lambda: gpu)
    found = finding("onnxruntime provider")
    assert found.ok is not gpu
    assert "libcurand.so.10" in found.detail
    assert found.command == ("pip install it" if gpu else "")


@pytest.mark.parametrize(("ours", "ok"), [("13.2", True), ("12.8", False), (None, True)])
def test_cuda_majors_are_compared(monkeypatch, ours, ok):
    import torch
    from onnxruntime.capi import build_and_package_info

    monkeypatch.setattr(build_and_package_info, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(torch.version, "cuda", ours)
    assert finding("CUDA versions").ok is ok


def test_one_crash_does_not_stop_the_others(monkeypatch):
    def crash(name):
        raise ZeroDivisionError("no reason\nat all")

    monkeypatch.setitem(doctor.CHECKS, "machine", crash)
    found = {f.name: f for f in examine()}
    assert not found["machine"].ok
    assert found["machine"].detail.endswith("ZeroDivisionError: no reason")
    assert len(found) == len(doctor.CHECKS)
