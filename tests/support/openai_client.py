"""openai's client for a fake provider."""

from __future__ import annotations

import openai

from turnlog.testing import FakeProvider


def client_of(provider: FakeProvider, max_retries: int = 0) -> openai.AsyncOpenAI:
    """A client to be closed. Loopback needs no certificates, and loading them would take longer than most tests."""
    return client_at(provider.base_url, max_retries)


def client_at(url: str, max_retries: int = 0) -> openai.AsyncOpenAI:
    """The same, for a provider in another process."""
    http_client = openai.DefaultAsyncHttpxClient(verify=False, trust_env=False)
    return openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=max_retries, http_client=http_client)
