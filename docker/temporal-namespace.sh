#!/bin/sh
# Makes the namespace and registers the search attributes, where they are not there yet. Workers register them too, but
# a server takes a while until it knows new ones, and refuses conversations until then.
set -eu

NAMESPACE=${NAMESPACE:-parley}

temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "${RETENTION:-168h}"

# a server takes some seconds until it knows a new namespace, and has no way to wait for it
tries=30
until temporal operator search-attribute create --namespace "$NAMESPACE" \
    --name Tenant --type Keyword \
    --name Intent --type Keyword \
    --name Variant --type Keyword \
    --name State --type Keyword \
    --name Fault --type Keyword \
    --name WaitingSince --type Datetime \
    --name Verdict --type KeywordList \
    --name Model --type KeywordList \
    --name Snapshot --type KeywordList
do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 1
done
