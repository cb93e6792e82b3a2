//! An OpenAI-compatible HTTP server with scripted behaviour.
