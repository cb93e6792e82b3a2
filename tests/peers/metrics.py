"""Prometheus's own parsers read the figures."""

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_metrics

from service import curl, post, serving


def figures(service):
    status, headers, text = curl(f"{service.url}/metrics")
    assert status == 200 and headers["content-type"].startswith("application/openmetrics-text"), headers
    return text


def sample(families, name, **labels):
    """The sum of the samples of this name that have these labels."""
    samples = [one for family in families for one in family.samples if one.name == name]
    return sum(one.value for one in samples if labels.items() <= one.labels.items())


def check_both_parsers_read_the_same_figures():
    with serving() as service:
        status, answer = post(f"{service.url}/v1/chat", {"message": "what is 6*7?"})
        assert status == 200, answer
        text = figures(service)
        for read in (parser.text_string_to_metric_families, open_metrics.text_string_to_metric_families):
            families = list(read(text))
            usage = answer["usage"]
            tokens = {"input": usage["inputTokens"], "output": usage["outputTokens"]}
            for kind, count in tokens.items():
                assert sample(families, "gen_ai_client_token_usage_sum", gen_ai_token_type=kind) == int(count), text
            assert sample(families, "assistd_model_attempts_total", outcome="answered") == 2, text
            assert sample(families, "gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="calculate") == 1
            assert sample(families, "assistd_run_duration_seconds_count", state="completed") == 1
            method = "assistant.v1.AssistantService/Chat"
            assert sample(families, "rpc_server_call_duration_seconds_count", rpc_method=method) == 1
        documented = {family.name: family for family in families}
        for name, family in documented.items():
            assert family.documentation and family.type != "unknown", name

