//! `assistd usage`.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::api::pb;
use crate::config::Settings;

use super::client;
use super::error::Error;
use super::models::amount;
use super::proto_json::ProtoJson;
use super::terminal::brief;
use super::tools::table;

/// What `usage` takes.
#[derive(Debug, Args)]
pub struct UsageArguments {
    /// Only of this caller; '' for runs of nobody
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// How many days, today included
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: u64,
    /// Print the response as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what callers have used, day by day.
pub async fn run(settings: &Settings, arguments: UsageArguments) -> Result<(), Error> {
    let mut client = client::usage(client::channel(settings).await?);
    let since = SystemTime::now() - Duration::from_secs((arguments.days - 1) * 24 * 60 * 60);
    let mut list = pb::ListUsageResponse::default();
    loop {
        let request = pb::ListUsageRequest {
            caller: arguments.caller.clone(),
            start_time: Some(since.into()),
            page_token: std::mem::take(&mut list.next_page_token),
            ..Default::default()
        };
        let page = client.list_usage(request).await?.into_inner();
        list.usage.extend(page.usage);
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            break;
        }
    }
    let text = if arguments.json {
        ProtoJson::of("ListUsageResponse")?.line(&list)? + "\n"
    } else {
        let rows: Vec<[String; 6]> = list.usage.iter().map(cells).collect();
        table(["DAY", "CALLER", "RUNS", "READ", "WRITTEN", "COST"], &rows)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn cells(of_caller: &pb::CallerUsage) -> [String; 6] {
    let usage = of_caller.usage.clone().unwrap_or_default();
    let day = of_caller.day.map(|day| day.to_string()).unwrap_or_default();
    let day = day.split('T').next().unwrap_or_default().to_owned();
    let cost = usage
        .cost
        .map(|cost| format!("{} {}", amount(cost.micros), cost.currency_code));
    let caller = match of_caller.caller.as_str() {
        "" => "-",
        caller => caller,
    };
    [
        day,
        brief(caller, usize::MAX),
        of_caller.runs.to_string(),
        usage.input_tokens.to_string(),
        usage.output_tokens.to_string(),
        cost.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_used_how_much_when() {
        let usage = pb::CallerUsage {
            day: Some(prost_types::Timestamp {
                seconds: 20_000 * 86_400,
                nanos: 0,
            }),
            caller: "ann".into(),
            runs: 3,
            usage: Some(pb::Usage {
                input_tokens: 10,
                output_tokens: 4,
                cost: Some(pb::Cost {
                    currency_code: "USD".into(),
                    micros: 1_500_000,
                }),
                ..Default::default()
            }),
        };
        assert_eq!(cells(&usage), ["2024-10-04", "ann", "3", "10", "4", "1.5 USD"]);
        let nobody = pb::CallerUsage::default();
        assert_eq!(cells(&nobody), ["", "-", "0", "0", "0", ""]);
    }
}
