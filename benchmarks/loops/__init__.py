"""Ways of answering with tools: the loop that asks a model, runs its tools, and asks again."""

_HERE = __name__
PEERS = {
    "openai-agents": f"{_HERE}.openai_agents:OpenaiAgentsLoop",
    "pydantic-ai": f"{_HERE}.pydantic_ai:PydanticAiLoop",
}
"""By name: where its class is."""
