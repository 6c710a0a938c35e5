import numpy as np
import onnxruntime
import pytest

from isthmus.deploy import providers
from isthmus.deploy.doctor import TINY
from isthmus.deploy.providers import captured, create_session
from isthmus.errors import BadInput, ProviderUnavailable


def usable(name):
    session, _ = create_session(TINY, "auto")
    return session.get_providers()[0] == name


@pytest.fixture(scope="module")
def no_cuda():
    if usable("CUDAExecutionProvider"):
        pytest.skip("this machine has what the test needs to be missing")


def test_cpu_is_what_was_asked_for():
    session, reason = create_session(TINY, "cpu", threads=1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert reason == "cpu, as asked"
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.run(None, {"x": np.ones(3, np.float32)})[0].tolist() == [1, 1, 1]


def test_threads_follow_the_cores_of_the_process():
    session, _ = create_session(TINY, "cpu")
    assert session.get_session_options().intra_op_num_threads == providers.cores()


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_missing_library_is_named(no_cuda, capfd, device, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if providers.NAMES[device] not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is the CPU build")
    with pytest.raises(ProviderUnavailable, match=r"cannot be used: lib\w+\.so\.\d+") as caught:
        create_session(TINY, device)
    assert caught.value.exit == 4
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_auto_says_what_it_chose_and_why(no_cuda, capfd):
    session, reason = create_session(TINY, "auto")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert reason.startswith("cpu, because CUDA cannot be used (")
    assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


def test_a_runtime_without_cuda_is_told_apart(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderUnavailable, match="built without it") as caught:
        create_session(TINY, "cuda")
    assert "--force-reinstall" in caught.value.hint
    assert create_session(TINY, "auto")[1].startswith("cpu, because")


def test_an_unknown_device_is_refused():
    with pytest.raises(BadInput, match="'gpu'"):
        create_session(TINY, "gpu")


@pytest.mark.parametrize(
    ("talk", "cause", "command"),
    [
        (
            "[E:onnxruntime] Failed to load library x.so with error: libcublasLt.so.13: cannot "
            "open shared object file: No such file or directory\n[W] next",
            "libcublasLt.so.13: cannot open shared object file",
            "onnxruntime-gpu[cuda,cudnn]",
        ),
        (
            "with error: libcuda.so.1: cannot open shared object file",
            "libcuda.so.1: cannot open shared object file",
            "nvidia-smi",
        ),
        (
            "x CUDA failure 100: no CUDA-capable device is detected ; GPU=0",
            "CUDA failure 100: no CUDA-capable device is detected",
            "nvidia-smi",
        ),
        ("with error: libnvinfer.so.10: cannot open", "libnvinfer.so.10: cannot open", "tensorrt"),
    ],
)
def test_causes_and_remedies(talk, cause, command):
    assert providers._cause(talk) == cause
    assert command in providers._remedy(cause)


def test_output_is_captured_also_when_something_raises(capfd):
    import os

    with pytest.raises(ValueError), captured() as talk:
        os.write(2, b"from C")
        print("from Python")
        raise ValueError
    assert "from C" in talk[0]
    assert "from Python" in talk[0]
    print("after")
    assert capfd.readouterr().out == "after\n"
