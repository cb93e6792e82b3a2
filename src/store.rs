//! Durable state; sqlx lives only here.
