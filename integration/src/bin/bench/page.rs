//! A page of the documentation that holds what was measured, between marks.

use palisade_integration::Failure;

const END: &str = "<!-- bench end -->";

/// The page with another text between the mark of this name and the next end; as it is where the text is empty.
pub(crate) fn with(page: &str, name: &str, text: &str) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(page.to_owned());
    }
    let mark = format!("<!-- bench: {name} -->");
    let (before, after) = page.split_once(&mark).ok_or_else(|| missing(&mark))?;
    let (_, rest) = after.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{mark}\n{}\n{END}{rest}", text.trim_end()))
}

fn missing(mark: &str) -> Failure {
    Failure::unreadable("the page", &format!("it has no {mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n<!-- bench: v1 -->\nold\n<!-- bench end -->\nB\n<!-- bench: v2 -->\n<!-- bench end -->\n";

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let page = with(PAGE, "v2", "| new |\n").unwrap();
        assert_eq!(page, PAGE.replace("v2 -->\n", "v2 -->\n| new |\n"));
        let page = with(&page, "v1", "1").unwrap();
        assert!(page.contains("v1 -->\n1\n<!-- bench end -->\nB\n") && !page.contains("old"), "{page}");
        assert_eq!(with(&page, "v1", "1").unwrap(), page, "again");
    }

    #[test]
    fn a_page_without_the_mark_is_refused_and_no_text_changes_nothing() {
        assert!(with(PAGE, "v3", "x").is_err());
        assert!(with("<!-- bench: v1 -->", "v1", "x").is_err());
        assert_eq!(with(PAGE, "v3", "").unwrap(), PAGE);
    }
}
