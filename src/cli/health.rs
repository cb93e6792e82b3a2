//! `assistd health`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use crate::api::pb;
use crate::config::Settings;

use super::client;
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::brief;

/// What `health` takes.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Print a HealthResponse as JSON
    #[arg(long)]
    json: bool,
}

const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints how the service is. A service that works in part is alive: to restart its container for a tool
/// server that is down would only take away the rest.
pub async fn run(settings: &Settings, arguments: &HealthArguments) -> Result<(), Error> {
    let mut client = client::connect(settings).await?;
    let mut request = tonic::Request::new(pb::HealthRequest {});
    request.set_timeout(TIMEOUT);
    let health = client.health(request).await?.into_inner();
    let text = if arguments.json {
        ProtoJson::of("HealthResponse")?.line(&health)? + "\n"
    } else {
        describe(&health)
    };
    io::stdout().write_all(text.as_bytes())?;
    if works(health.status()) {
        Ok(())
    } else {
        Err(Error::Reported)
    }
}

fn works(status: pb::HealthStatus) -> bool {
    matches!(status, pb::HealthStatus::Healthy | pb::HealthStatus::Degraded)
}

fn word(status: pb::HealthStatus) -> &'static str {
    match status {
        pb::HealthStatus::Unspecified => "unknown",
        pb::HealthStatus::Healthy => "healthy",
        pb::HealthStatus::Degraded => "degraded",
        pb::HealthStatus::Unhealthy => "unhealthy",
        pb::HealthStatus::Connecting => "connecting",
    }
}

fn describe(health: &pb::HealthResponse) -> String {
    let mut lines = vec![format!("{} (assistd {})", word(health.status()), health.version)];
    if let Some(model) = &health.model {
        let place = if model.simulator {
            "the built-in simulator"
        } else {
            &model.base_url_host
        };
        let detail = format!("{} at {place}", model.name);
        lines.push(line("model", &detail, model.status(), &model.message));
    }
    for model in &health.troubled_models {
        lines.push(line("model", &model.name, model.status(), &model.message));
    }
    if let Some(store) = &health.store {
        lines.push(line("store", &store.kind, store.status(), &store.message));
    }
    for server in &health.mcp_servers {
        let detail = format!("{}, {} tools", server.name, server.tool_count);
        lines.push(line("mcp", &detail, server.status(), &server.message));
    }
    if !health.mcp_configuration_problem.is_empty() {
        let problem = brief(&health.mcp_configuration_problem, 200);
        lines.push(format!(
            "  mcp    the configuration of before is in force: {problem}"
        ));
    }
    lines.join("\n") + "\n"
}

fn line(part: &str, detail: &str, status: pb::HealthStatus, message: &str) -> String {
    let separator = if message.is_empty() { "" } else { ": " };
    let status = word(status);
    let (detail, message) = (brief(detail, 120), brief(message, 200));
    format!("  {part:<6} {status:<10} {detail}{separator}{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_line_with_what_ails_it() {
        let health = pb::HealthResponse {
            status: pb::HealthStatus::Degraded.into(),
            version: "1.2.3".into(),
            model: Some(pb::ModelHealth {
                name: "m".into(),
                base_url_host: "api.example.com".into(),
                status: pb::HealthStatus::Healthy.into(),
                ..Default::default()
            }),
            store: None,
            mcp_servers: vec![pb::McpServerHealth {
                name: "files".into(),
                status: pb::HealthStatus::Unhealthy.into(),
                message: "exited with 1".into(),
                ..Default::default()
            }],
            start_time: None,
            troubled_models: vec![pb::ModelHealth {
                name: "other".into(),
                status: pb::HealthStatus::Unhealthy.into(),
                message: "no answer".into(),
                ..Default::default()
            }],
            mcp_configuration_problem: "mcp.json: is gone".into(),
        };
        let expected = "\
degraded (assistd 1.2.3)
  model  healthy    m at api.example.com
  model  unhealthy  other: no answer
  mcp    unhealthy  files, 0 tools: exited with 1
  mcp    the configuration of before is in force: mcp.json: is gone
";
        assert_eq!(describe(&health), expected);
    }

    #[test]
    fn a_service_that_works_in_part_is_alive() {
        let alive = [
            (pb::HealthStatus::Healthy, true),
            (pb::HealthStatus::Degraded, true),
            (pb::HealthStatus::Unhealthy, false),
            (pb::HealthStatus::Connecting, false),
            (pb::HealthStatus::Unspecified, false),
        ];
        for (status, expected) in alive {
            assert_eq!(works(status), expected, "{status:?}");
        }
    }
}
