"""openai's client for a fake provider."""

from __future__ import annotations

import openai

from turnlog.testing import FakeProvider


def client_of(provider: FakeProvider, max_retries: int = 0) -> openai.AsyncOpenAI:
    """A client to be closed. Loopback needs no certificates, and loading them would take longer than most tests."""
    http_client = openai.DefaultAsyncHttpxClient(verify=False, trust_env=False)
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key="x", max_retries=max_retries, http_client=http_client)
