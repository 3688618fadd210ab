#!/usr/bin/env bash
# book.sh [--install | --find]: builds docs/ with mdBook as target/book/docs, with the files of the repository that its pages link
# to beside it, and checks every link of the result. --install installs mdBook with cargo if it is missing. --find prints where
# mdBook is and builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

find_mdbook() {
  command -v mdbook || { [ -x target/tools/bin/mdbook ] && echo target/tools/bin/mdbook; }
}

case ${1-} in
  --find)
    find_mdbook
    exit
    ;;
  --install) find_mdbook >/dev/null || cargo install --locked --root target/tools mdbook ;;
  '') ;;
  *) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;;
esac
mdbook=$(find_mdbook) || {
  echo "mdBook is missing: make book installs it" >&2
  exit 1
}

site=target/book
rm -rf "$site"
"$mdbook" build >&2

# A page of a README.md is index.html, which mdBook does in links of the summary only.
find "$site/docs" -name '*.html' -exec sed -i -E 's|(href="([^":]*/)?)README\.html|\1index.html|g' {} +

# Links that leave the book: mdBook turns .md into .html there as well.
for page in $(find "$site/docs" -name '*.html'); do
  folder=$(dirname "${page#"$site/"}")
  for link in $(grep -o 'href="\.\./[^"#:]*' "$page" | cut -c7- | sort -u); do
    path=$(realpath -m --relative-to=. "$folder/$link")
    case $path in docs | docs/*) continue ;; esac
    source=$path
    if [ ! -e "$path" ] && [ -e "${path%.html}.md" ]; then
      source=${path%.html}.md
      sed -i "s|href=\"$link|href=\"${link%.html}.md|g" "$page"
    fi
    [ -f "$source" ] || continue
    mkdir -p "$site/$(dirname "$source")"
    cp "$source" "$site/$source"
  done
done
printf '<!DOCTYPE html><meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">perouter</a>\n' \
  >"$site/index.html"

# Every link of every page, after that.
missing=0
for page in $(find "$site/docs" -name '*.html' ! -name print.html ! -name toc.html); do
  for link in $(grep -oE '(href|src)="[^"]*"' "$page" | cut -d'"' -f2 | sort -u); do
    case $link in *://* | mailto:* | data:*) continue ;; esac
    file=${link%%#*} anchor=
    case $link in *\#*) anchor=${link#*#} ;; esac
    target=$page
    [ -z "$file" ] || target=$(dirname "$page")/$file
    if [ ! -e "$target" ]; then
      echo "$page: $link: no such file" >&2
      missing=1
    elif [ -n "$anchor" ] && [[ $target == *.html ]] && ! grep -qF "id=\"$anchor\"" "$target"; then
      echo "$page: $link: no such heading" >&2
      missing=1
    fi
  done
done
[ "$missing" = 0 ] || exit 1
echo "$(find "$site/docs" -name '*.html' | wc -l) pages in $site/index.html"
