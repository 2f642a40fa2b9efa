"""The Hugging Face Hub where it cannot be reached."""

from segment.models.adapters import hub_cache


def test_no_proxy_alone_is_no_proxy(monkeypatch):
    def fail(*_):
        raise OSError

    monkeypatch.setattr(hub_cache.socket, "getaddrinfo", fail)
    for proxies, known in (({"no": "localhost"}, False), ({"https": "http://proxy"}, True), ({}, False)):
        monkeypatch.setattr(hub_cache, "getproxies", lambda proxies=proxies: proxies)
        assert hub_cache._is_known("https://huggingface.co") == known
