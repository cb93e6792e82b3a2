//! Language models; async-openai lives only here.
