//! Numbers that need not be finite, in JSON, which knows neither NaN nor infinity: `"NaN"`, `"inf"` and `"-inf"` stand for
//! them. A rejected model's answers may be any number, and what the evaluator saw of them has to be recorded all the same.
//!
//! For `#[serde(with = "crate::figure")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { value.serialize(serializer) } else { value.to_string().serialize(serializer) }
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Word(word) => match word.as_str() {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(Error::custom(format_args!("{word:?} is not a number"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] f64);

    #[test]
    fn every_number_survives_json_bit_for_bit_and_nan_stays_nan() {
        let numbers = [0.0, -0.0, 0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        for number in numbers {
            let text = serde_json::to_string(&Holder(number)).unwrap();
            let back: Holder = serde_json::from_str(&text).unwrap();
            assert!(back.0.to_bits() == number.to_bits() || number.is_nan() && back.0.is_nan(), "{number} as {text}");
        }
        for bad in ["\"nan\"", "\"1.0\"", "null", "[1]"] {
            assert!(serde_json::from_str::<Holder>(bad).is_err(), "{bad} was taken for a number");
        }
    }
}
