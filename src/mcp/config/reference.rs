//! References to environment variables in the values of a configuration.

/// Replaces `${NAME}`, `${env:NAME}` and `${NAME:-default}` by what `lookup` says; `$${` stands for `${`.
///
/// # Errors
/// What is wrong with which reference.
pub(super) fn resolve(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            resolved.push_str(before);
            resolved.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        resolved.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            return Err("'${' without '}'".to_owned());
        };
        resolved.push_str(&value(&rest[start + 2..start + length], lookup)?);
        rest = &rest[start + length + 1..];
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn value(reference: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(format!(
            "'${{{reference}}}' is not understood: expected ${{NAME}} or ${{env:NAME}}"
        ));
    }
    lookup(name)
        .or_else(|| default.map(str::to_owned))
        .ok_or_else(|| format!("the environment variable {name} is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced() {
        let lookup = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        let cases = [
            ("plain $HOME {x}", Ok("plain $HOME {x}")),
            ("Bearer ${TOKEN}", Ok("Bearer s3cret")),
            ("${env:TOKEN}${TOKEN}", Ok("s3crets3cret")),
            ("${NONE:-a:-b}", Ok("a:-b")),
            ("${TOKEN:-other}", Ok("s3cret")),
            ("$${TOKEN} é", Ok("${TOKEN} é")),
            ("${NONE}", Err("the environment variable NONE is not set")),
            ("${TOKEN", Err("'${' without '}'")),
            (
                "${input:key}",
                Err("'${input:key}' is not understood: expected ${NAME} or ${env:NAME}"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(
                resolve(text, &lookup).as_deref(),
                expected.map_err(str::to_owned).as_deref(),
                "{text}"
            );
        }
    }
}
