//! News of a build that is under way, as JSON lines on standard input.

use std::collections::HashMap;
use std::io::BufRead;

use forerunner_merkle::Digest;
use serde::Deserialize;
use speculate::Graph;
use speculate::prime::News;
use tokio::sync::mpsc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    element: Option<String>,
    artifact: Option<String>,
    asked: Option<String>,
}

/// Reads standard input on a thread of its own. A line that makes no sense is complained about and
/// left out: a build must not suffer from its observer.
pub(crate) fn stdin(graph: &Graph) -> mpsc::Receiver<News> {
    let names: HashMap<String, usize> =
        graph.names().into_iter().map(|(name, index)| (name.to_owned(), index)).collect();
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
            let Ok(line) = line else { return };
            if line.trim().is_empty() {
                continue;
            }
            match parse(&line, &names) {
                Ok(news) => {
                    if sender.blocking_send(news).is_err() {
                        return;
                    }
                }
                Err(problem) => {
                    eprintln!("speculate: standard input, line {}: {problem}", number + 1);
                }
            }
        }
    });
    receiver
}

fn parse(line: &str, names: &HashMap<String, usize>) -> Result<News, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let digest = |key: &str, text: &str| {
        text.parse::<Digest>().map_err(|error| format!("key `{key}`: {error}"))
    };
    match (line.element, line.artifact, line.asked) {
        (None, None, Some(asked)) => Ok(News::Asked(digest("asked", &asked)?)),
        (Some(element), Some(artifact), None) => {
            let index = names
                .get(&element)
                .ok_or_else(|| format!("key `element`: the graph has no element `{element}`"))?;
            Ok(News::Artifact(*index, digest("artifact", &artifact)?))
        }
        _ => Err("it has neither `element` and `artifact` nor `asked`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let names = HashMap::from([("a".to_owned(), 3)]);
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0";
        let line = format!(r#"{{"element": "a", "artifact": "{digest}"}}"#);
        let empty = digest.parse().expect("a digest");
        assert_eq!(parse(&line, &names), Ok(News::Artifact(3, empty)));
        let asked = format!(r#"{{"asked": "{digest}"}}"#);
        assert_eq!(parse(&asked, &names), Ok(News::Asked(empty)));
        let error = |line: &str| parse(line, &names).expect_err("nonsense");
        assert!(error("{}").contains("neither"));
        assert!(error(&line.replace("\"a\"", "\"b\"")).contains("no element `b`"));
        assert!(error(r#"{"element": "a", "artifact": "x"}"#).contains("key `artifact`"));
        assert!(error(r#"{"colour": 1}"#).contains("colour"));
    }
}
