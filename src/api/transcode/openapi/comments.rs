//! The comments of a pool's files, by the full names of what they belong to.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor};

/// See the [module](self).
pub struct Comments {
    texts: HashMap<String, String>,
}

impl Comments {
    /// Collects the comments; none if the pool was encoded without its source info.
    pub fn of(pool: &DescriptorPool) -> Self {
        let mut by_place: HashMap<(String, Vec<i32>), String> = HashMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            for location in info.into_iter().flat_map(|info| &info.location) {
                if let Some(text) = &location.leading_comments {
                    by_place.insert((file.name().to_owned(), location.path.clone()), clean(text));
                }
            }
        }
        let mut comments = Self {
            texts: HashMap::new(),
        };
        let mut add = |name: &str, file: &str, path: &[i32]| {
            if let Some(text) = by_place.get(&(file.to_owned(), path.to_vec())) {
                comments.texts.insert(name.to_owned(), text.clone());
            }
        };
        for service in pool.services() {
            let file = service.parent_file();
            add(service.full_name(), file.name(), service.path());
            for method in service.methods() {
                add(method.full_name(), file.name(), method.path());
            }
        }
        for message in pool.all_messages() {
            add_message(&message, &mut add);
        }
        for enumeration in pool.all_enums() {
            add_enum(&enumeration, &mut add);
        }
        comments
    }

    /// The comment of something, as text; empty when it has none.
    pub fn of_name(&self, full_name: &str) -> &str {
        self.texts.get(full_name).map_or("", String::as_str)
    }
}

fn add_message(message: &MessageDescriptor, add: &mut impl FnMut(&str, &str, &[i32])) {
    let file = message.parent_file();
    add(message.full_name(), file.name(), message.path());
    for field in message.fields() {
        add(field.full_name(), file.name(), field.path());
    }
}

fn add_enum(enumeration: &EnumDescriptor, add: &mut impl FnMut(&str, &str, &[i32])) {
    let file = enumeration.parent_file();
    add(enumeration.full_name(), file.name(), enumeration.path());
    for value in enumeration.values() {
        // The values of an enum are known by the enum: in C++ fashion, their full names lie beside it.
        let name = format!("{}.{}", enumeration.full_name(), value.name());
        add(&name, file.name(), value.path());
    }
}

/// Comment text without the indentation and the line breaks of the file; paragraphs stay.
fn clean(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n");
    let joined: Vec<String> = paragraphs
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    joined.join("\n\n")
}
