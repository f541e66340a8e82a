# Bash ends words at colons and equals signs, which names of images and flags have in them: here they
# are put together again, and what bash has of the last one already is taken from the answers.
_gabion() {
    local joined=() last=-1 is_open=false word
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ "$last" -gt 0 && ( "$word" == [:=]* || "$is_open" == true ) ]]; then
            joined[last]+="$word"
        else
            last=${#joined[@]}
            joined[last]="$word"
        fi
        if [[ "$word" == *[:=] ]]; then is_open=true; else is_open=false; fi
    done
    local current="${joined[last]}"
    local typed="${current%"$2"}"
    local COMP_WORDS=("${joined[@]}") COMP_CWORD="$last"
    _clap_complete_gabion "$1" "$current" "$3"
    COMPREPLY=("${COMPREPLY[@]#"$typed"}")
}
