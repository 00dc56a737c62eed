//! A guest's answer as MCP content: text as text, pictures as pictures.
//!
//! This is the one place on the host that looks into an answer. It holds slices of it, not a tree made of it, and counts what it
//! takes, so that a hostile answer costs its own length and no more; what is not as expected stays the text that it was.

use std::borrow::Cow;
use std::fmt;

use rmcp::model::{CallToolResult, ContentBlock};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Largest answer that is looked into. `run_code` holds less than that together with its output.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Blocks of an answer, results of a run, members of an object.
const PARTS_MAX: usize = 512;

/// Pictures that MCP's clients show, by their names in the results of a run.
const PICTURES: [&str; 2] = ["image/png", "image/jpeg"];

/// The tool whose text may hold pictures.
const RUN_CODE: &str = "run_code";

/// A tool's answer, as far as MCP has words for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(default)]
    is_error: bool,
    #[serde(borrow)]
    content: Parts<Block<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    mime_type: Option<Cow<'a, str>>,
}

/// The content of a tool's answer.
pub(super) fn of(tool: &str, answer: &[u8]) -> CallToolResult {
    if answer.len() > ANSWER_BYTES_MAX {
        let why = format!(
            "the answer of `{tool}` has {} MiB, and MCP's answers have {} MiB at most; ask for less at once",
            answer.len() >> 20,
            ANSWER_BYTES_MAX >> 20
        );
        return CallToolResult::error(vec![ContentBlock::text(why)]);
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else {
        let why = format!("the session's guest answered `{tool}` with a form unknown here");
        return CallToolResult::error(vec![ContentBlock::text(why)]);
    };
    let mut content = Vec::new();
    for block in answer.content.0 {
        match (block.kind.as_ref(), block.text, block.data, block.mime_type) {
            ("text", Some(text), _, _) => match (tool == RUN_CODE).then(|| take_pictures(&text)).flatten() {
                Some((text, pictures)) => {
                    content.push(ContentBlock::text(text));
                    content.extend(pictures);
                }
                None => content.push(ContentBlock::text(text)),
            },
            ("image", _, Some(data), Some(kind)) => content.push(ContentBlock::image(data, kind)),
            (kind, ..) => {
                let kind: String = kind.chars().take(40).collect();
                content.push(ContentBlock::text(format!(
                    "[berth: a block of type {kind:?} left out]"
                )));
            }
        }
    }
    match answer.is_error {
        true => CallToolResult::error(content),
        false => CallToolResult::success(content),
    }
}

/// The text of a run without its pictures, and the pictures; nothing if it has none.
fn take_pictures(text: &str) -> Option<(String, Vec<ContentBlock>)> {
    if !PICTURES.iter().any(|kind| text.contains(kind)) {
        return None;
    }
    let run: Members<'_> = serde_json::from_str(text).ok()?;
    let mut pictures = Vec::new();
    let run = run.0.into_iter().map(|(name, value)| {
        let value = match name.as_ref() {
            "result" => without_pictures(value, &mut pictures).map_or(Cow::Borrowed(value.get()), Cow::Owned),
            _ => Cow::Borrowed(value.get()),
        };
        (name, value)
    });
    let run = object(run);
    (!pictures.is_empty()).then_some((run, pictures))
}

/// A run's results with a word in the place of each picture.
fn without_pictures(results: &RawValue, pictures: &mut Vec<ContentBlock>) -> Option<String> {
    let results: Parts<&RawValue> = serde_json::from_str(results.get()).ok()?;
    let mut texts = Vec::with_capacity(results.0.len());
    for result in results.0 {
        let Ok(members) = serde_json::from_str::<Members<'_>>(result.get()) else {
            texts.push(result.get().to_owned());
            continue;
        };
        texts.push(object(members.0.into_iter().map(|(kind, value)| {
            let picture = PICTURES.contains(&kind.as_ref()).then(|| base64(value)).flatten();
            let value = match picture {
                Some(data) => {
                    pictures.push(ContentBlock::image(data, kind.as_ref()));
                    Cow::Owned(format!("\"[picture {} of this answer]\"", pictures.len()))
                }
                None => Cow::Borrowed(value.get()),
            };
            (kind, value)
        })));
    }
    Some(format!("[{}]", texts.join(",")))
}

/// The base64 that a string holds, if it does.
fn base64(value: &RawValue) -> Option<String> {
    let text: Cow<'_, str> = serde_json::from_str::<Text<'_>>(value.get()).ok()?.0;
    // Some libraries end a picture, or each of its lines, with a newline, which MCP's clients need not take.
    let data: String = text.split_ascii_whitespace().collect();
    let is_base64 = data
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    (is_base64 && !data.is_empty()).then_some(data)
}

/// Writes an object whose values are JSON already.
fn object<'a>(members: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> String {
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", Value::from(name.as_ref())))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A string that is not copied if it need not be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A list of at most [`PARTS_MAX`].
struct Parts<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Parts<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting<T>(Vec<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Counting<T> {
            type Value = Vec<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a list of at most {PARTS_MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Vec<T>, A::Error> {
                while let Some(item) = items.next_element()? {
                    if self.0.len() == PARTS_MAX {
                        return Err(serde::de::Error::invalid_length(PARTS_MAX + 1, &self));
                    }
                    self.0.push(item);
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_seq(Counting(Vec::new())).map(Self)
    }
}

/// The members of an object, at most [`PARTS_MAX`], in their order, with their values as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
        impl<'de: 'a, 'a> Visitor<'de> for Counting<'a> {
            type Value = Vec<(Cow<'a, str>, &'a RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "an object of at most {PARTS_MAX} members")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
                while let Some((name, value)) = members.next_entry::<Text<'a>, &'a RawValue>()? {
                    if self.0.len() == PARTS_MAX {
                        return Err(serde::de::Error::invalid_length(PARTS_MAX + 1, &self));
                    }
                    self.0.push((name.0, value));
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_map(Counting(Vec::new())).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use berth_guest_api::ToolResult;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn content(tool: &str, result: &ToolResult) -> Value {
        json!(of(tool, &serde_json::to_vec(result).unwrap()))
    }

    fn run(results: Value) -> ToolResult {
        ToolResult::text(json!({"result": results, "stdout": ["a\n"], "executionError": ""}).to_string())
    }

    #[test]
    fn text_stays_as_it_is_and_an_error_stays_an_error() {
        let told = content("shell", &ToolResult::error("bo\"om"));
        assert_eq!(told["isError"], true);
        assert_eq!(told["content"], json!([{"type": "text", "text": "bo\"om"}]));
        // Only the answers of one tool are looked into.
        let odd = run(json!([{"image/png": "QUJD"}]));
        assert_eq!(content("read_file", &odd)["content"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn pictures_of_a_run_leave_its_text() {
        let told = content(
            "run_code",
            &run(json!([
                {"text/plain": "<Figure>", "image/png": "QUJD\n", "isMainResult": false},
                {"image/jpeg": "REVG", "image/svg+xml": "<svg/>", "isMainResult": true},
                {"image/png": "not base64!", "n": 1},
                7,
            ])),
        );
        let blocks = told["content"].as_array().unwrap();
        assert_eq!(blocks.len(), 3, "{told}");
        assert_eq!(
            blocks[1],
            json!({"type": "image", "data": "QUJD", "mimeType": "image/png"})
        );
        assert_eq!(
            blocks[2],
            json!({"type": "image", "data": "REVG", "mimeType": "image/jpeg"})
        );
        let text: Value = serde_json::from_str(blocks[0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(
            text,
            json!({"result": [
                {"text/plain": "<Figure>", "image/png": "[picture 1 of this answer]", "isMainResult": false},
                {"image/jpeg": "[picture 2 of this answer]", "image/svg+xml": "<svg/>", "isMainResult": true},
                {"image/png": "not base64!", "n": 1},
                7,
            ], "stdout": ["a\n"], "executionError": ""})
        );
    }

    #[test]
    fn an_image_block_of_a_guest_is_an_image() {
        let answer = br#"{"isError":false,"content":[{"type":"image","data":"QQ==","mimeType":"image/png"},{"type":"sound"}]}"#;
        let told = json!(of("screenshot", answer));
        assert_eq!(
            told["content"][0],
            json!({"type": "image", "data": "QQ==", "mimeType": "image/png"})
        );
        assert!(told["content"][1]["text"].as_str().unwrap().contains("sound"));
    }

    #[test]
    fn an_answer_that_is_not_one_is_an_error() {
        let many = format!(
            r#"{{"content":[{}]}}"#,
            vec![r#"{"type":"text","text":""}"#; 600].join(",")
        );
        for bad in ["", "{}", "[]", "7", many.as_str()] {
            assert_eq!(json!(of("shell", bad.as_bytes()))["isError"], true, "{bad:.40}");
        }
        let large = vec![b' '; ANSWER_BYTES_MAX + 1];
        assert!(
            json!(of("shell", &large))["content"][0]["text"]
                .as_str()
                .unwrap()
                .contains("64 MiB")
        );
    }

    #[test]
    fn too_many_results_stay_text() {
        let results = vec![json!({"image/png": "QUJD"}); PARTS_MAX + 1];
        assert_eq!(
            content("run_code", &run(json!(results)))["content"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,200}") {
            let _ = of("run_code", text.as_bytes());
            let told = content("run_code", &ToolResult::text(format!("image/png{text}")));
            prop_assert_eq!(&told["content"][0]["text"], &json!(format!("image/png{text}")));
        }
    }
}
