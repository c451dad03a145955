//! Taking the arguments of a call apart. They come from a machine that was told of their form and may keep to it or not.

use serde_json::Value;

use crate::brief::quote::inline;
use crate::llm::Tool;

/// Bytes of one argument. Edits may replace each candidate file whole.
const MOST_BYTES: usize = 512 * 1024;

/// Arguments of one call, by the names that its tool knows.
pub(crate) struct Arguments<'a> {
    values: Vec<(&'a str, &'a Value)>,
}

impl<'a> Arguments<'a> {
    /// Takes them apart; nothing at all stands for no arguments.
    pub(crate) fn of(tool: &Tool, arguments: &'a Value) -> Result<Self, String> {
        let object = match arguments {
            Value::Null => return Ok(Self { values: Vec::new() }),
            Value::Object(object) => object,
            _ => return Err(format!("the arguments of `{}` must be a JSON object", tool.name)),
        };
        let known: Vec<&str> = tool
            .arguments
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let mut values = Vec::new();
        for (name, value) in object {
            if !known.contains(&name.as_str()) {
                let name = inline(name, 60);
                return Err(format!("`{}` has no argument `{name}`; it has {}", tool.name, known.join(", ")));
            }
            // `null` for one that is left out is a habit of several servers.
            if !value.is_null() {
                values.push((name.as_str(), value));
            }
        }
        Ok(Self { values })
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= MOST_BYTES => Ok(Some(text)),
            Some(Value::String(text)) => {
                Err(format!("`{name}` has {} bytes, at most {MOST_BYTES} are read", text.len()))
            }
            Some(other) => Err(format!("`{name}` must be a text, not {}", shown(other))),
        }
    }

    /// A text that must be there.
    pub(crate) fn need_text(&self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// A number or a text that stands for one thing, such as an experiment, as text.
    pub(crate) fn need_name(&self, name: &str) -> Result<String, String> {
        match self.value(name) {
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => self.need_text(name).map(|text| text.trim().to_owned()),
        }
    }

    /// A number, if it is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number: &f64| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{name}` must be a number, not {}", shown(value))),
        }
    }

    /// A whole number from 1 to `most`, if it is there; one that is larger counts as `most`.
    pub(crate) fn count(&self, name: &str, most: usize) -> Result<Option<usize>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => {
                let whole = number.as_f64().filter(|number| *number >= 1.0 && number.fract() == 0.0);
                number.as_u64().or(whole.map(|number| number as u64))
            }
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| *number >= 1) {
            Some(number) => Ok(Some(usize::try_from(number).unwrap_or(usize::MAX).min(most))),
            None => Err(format!("`{name}` must be a whole number from 1 on, not {}", shown(value))),
        }
    }
}

/// A value in a message, shortened.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => format!("`{}`", inline(&other.to_string(), 40)),
    }
}
