#!/usr/bin/env bash
# Start a sweep from a batch system or a terminal; see scripts/README.md.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: run_chemprop_hpo.sh --config FILE [--dry-run] [--log-level LEVEL] [key=value ...]

  --config FILE      the sweep to run, or to go on with
  --dry-run          check the file, data, resources and database; start nothing
  --log-level LEVEL  DEBUG, INFO or WARNING
  key=value          overrides of single values, such as num_samples=20
  --help             this text

The program is $CHEMPROP_HPO if set, else .venv/bin/chemprop-hpo of this checkout, else the
chemprop-hpo on the PATH. It takes this script's place, so that signals reach it (Ctrl-C ends a
sweep cleanly) and its exit code is the script's: 0 finished, 1 failed, 2 something to put right,
130 or 143 interrupted.
EOF
}

misuse() {
    echo "run_chemprop_hpo.sh: $1; see --help" >&2
    exit 2
}

find_program() {
    local checkout
    checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    if [[ -n "${CHEMPROP_HPO:-}" ]]; then
        echo "$CHEMPROP_HPO"
    elif [[ -x "$checkout/.venv/bin/chemprop-hpo" ]]; then
        echo "$checkout/.venv/bin/chemprop-hpo"
    else
        echo chemprop-hpo
    fi
}

config=""
options=()
overrides=()

while (($#)); do
    case "$1" in
        --config)
            (($# > 1)) && [[ "$2" != -* ]] || misuse "--config needs a file"
            config="$2"
            shift 2
            ;;
        --log-level)
            (($# > 1)) || misuse "--log-level needs DEBUG, INFO or WARNING"
            [[ "$2" =~ ^(DEBUG|INFO|WARNING)$ ]] || misuse "--log-level $2 is not DEBUG, INFO or WARNING"
            options+=(--log-level "$2")
            shift 2
            ;;
        --dry-run)
            options+=(--dry-run)
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*)
            misuse "unknown option $1"
            ;;
        ?*=*)
            overrides+=("$1")
            shift
            ;;
        *)
            misuse "$1 is neither an option nor key=value"
            ;;
    esac
done

[[ -n "$config" ]] || misuse "--config FILE is missing"
[[ -f "$config" ]] || misuse "no file $config"

program="$(find_program)"
command -v "$program" >/dev/null || misuse "cannot find $program; run make install, or set CHEMPROP_HPO"

# ${array[@]+...} because an empty array is an unset variable to the bash 3.2 of macOS.
exec "$program" sweep "$config" ${options[@]+"${options[@]}"} ${overrides[@]+"${overrides[@]}"}
