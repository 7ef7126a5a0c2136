# SPDX-License-Identifier: Apache-2.0
"""What GitHub tells its Copilot CLI: who somebody is, and which models there are."""

from __future__ import annotations

API = "api.individual.githubcopilot.com"  # where the account below is served
MODEL = "gpt-5-mini"


def user() -> dict[str, object]:
    """`GET api.github.com/copilot_internal/user`."""
    return {
        "login": "tester",
        "access_type_sku": "free_educational_quota",
        "copilot_plan": "individual",
        "chat_enabled": True,
        "cli_enabled": True,
        "can_signup_for_limited": False,
        "endpoints": {"api": f"https://{API}", "telemetry": f"https://{API}"},
        "organization_list": [],
        "quota_snapshots": {},
    }


def models() -> dict[str, object]:
    """`GET /models`."""
    limits = {
        "max_context_window_tokens": 128_000,
        "max_prompt_tokens": 100_000,
        "max_output_tokens": 16_000,
    }
    supports = {"tool_calls": True, "parallel_tool_calls": True, "streaming": True}
    model = {
        "id": MODEL,
        "name": "Test model",
        "object": "model",
        "vendor": "OpenAI",
        "version": MODEL,
        "preview": False,
        "model_picker_enabled": True,
        "is_chat_default": True,
        "is_chat_fallback": True,
        "policy": {"state": "enabled", "terms": ""},
        "billing": {"is_premium": False, "multiplier": 0},
        "supported_endpoints": ["/chat/completions"],
        "capabilities": {
            "family": MODEL,
            "type": "chat",
            "object": "model_capabilities",
            "tokenizer": "o200k_base",
            "limits": limits,
            "supports": supports,
        },
    }
    return {"object": "list", "data": [model]}
