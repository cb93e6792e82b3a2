//! The contract's types and services, generated from `proto/assistant/v1/`; their meaning is said
//! there. Always named with this module (`pb::Run`), so that they are never taken for the heart's.

#![expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

pub use super::listed::ListToolsResponse;

tonic::include_proto!("assistant.v1");

/// The whole contract with its imports and the standard error details, as an encoded
/// `google.protobuf.FileDescriptorSet` that keeps the `google.api` options.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/assistant_descriptor.bin"));

#[cfg(test)]
mod tests {
    use prost_reflect::{
        DescriptorPool, DynamicMessage, FieldDescriptor, MethodDescriptor, ServiceDescriptor, Value,
    };

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(super::DESCRIPTOR_SET).expect("the descriptor set decodes")
    }

    fn contract_methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
        pool.services()
            .filter(|service| service.package_name() == "assistant.v1")
            .flat_map(|service: ServiceDescriptor| service.methods().collect::<Vec<_>>())
            .collect()
    }

    fn extension(options: &DynamicMessage, pool: &DescriptorPool, name: &str) -> Option<Value> {
        let extension = pool.get_extension_by_name(name).expect("vendored");
        options
            .has_extension(&extension)
            .then(|| options.get_extension(&extension).into_owned())
    }

    #[test]
    fn every_rpc_has_an_http_binding() {
        let pool = pool();
        let methods = contract_methods(&pool);
        let unbound: Vec<_> = methods
            .iter()
            .filter(|method| extension(&method.options(), &pool, "google.api.http").is_none())
            .map(MethodDescriptor::full_name)
            .collect();
        assert_eq!(unbound, Vec::<&str>::new());
        assert!(!methods.is_empty());
    }

    #[test]
    fn every_field_of_every_request_says_how_it_behaves() {
        let pool = pool();
        let mut silent = Vec::new();
        let mut pending: Vec<_> = contract_methods(&pool)
            .iter()
            .map(MethodDescriptor::input)
            .collect();
        let mut seen = std::collections::HashSet::new();
        while let Some(message) = pending.pop() {
            if message.package_name() != "assistant.v1"
                || message.is_map_entry()
                || !seen.insert(message.full_name().to_owned())
            {
                continue;
            }
            for field in message.fields() {
                let behavior = extension(&field.options(), &pool, "google.api.field_behavior");
                if behavior.is_none() {
                    silent.push(field.full_name().to_owned());
                }
                pending.extend(field_message(&field));
            }
        }
        assert_eq!(silent, Vec::<String>::new());
        assert!(seen.contains("assistant.v1.ContentPart"));
    }

    fn field_message(field: &FieldDescriptor) -> Option<prost_reflect::MessageDescriptor> {
        field.kind().as_message().cloned()
    }

    #[test]
    fn the_descriptor_set_knows_every_standard_error_detail() {
        let pool = pool();
        for name in ["ErrorInfo", "BadRequest", "RetryInfo", "QuotaFailure"] {
            let full_name = format!("google.rpc.{name}");
            assert!(pool.get_message_by_name(&full_name).is_some(), "{name}");
        }
    }
}
