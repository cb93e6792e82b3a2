//! What callers have used.

use super::Handlers;
use crate::api::convert;
use crate::api::convert::page::Question;
use crate::api::pb;
use crate::run::error::Error;
use crate::run::page::Order;

impl Handlers {
    /// What callers have used, a page of it.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `STORE_UNAVAILABLE`.
    pub async fn list_usage(&self, request: pb::ListUsageRequest) -> Result<pb::ListUsageResponse, Error> {
        let spenders = convert::usage::spenders(&request)?;
        let asked = format!("{spenders:?}");
        let question = Question::new(&["ListUsage", &asked]);
        let page = question.page(request.page_size, &request.page_token, Order::OldestFirst)?;
        let listed = self.store().spendings(&spenders, page).await?;
        Ok(pb::ListUsageResponse {
            usage: listed.items.iter().map(convert::usage::to_pb).collect(),
            next_page_token: question.token(listed.next),
        })
    }
}
