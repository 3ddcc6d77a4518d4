#!/bin/sh
# Makes Temporal's two databases and brings their schema up to date. Does nothing where that is so already.
# The password is SQL_PASSWORD's, which temporal-sql-tool reads by itself.
set -eu

schema() {
    database=$1 folder=$2
    set -- temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p 5432 -u "$POSTGRES_USER" --db "$database"
    "$@" create
    "$@" setup-schema -v 0.0
    "$@" update-schema -d "/etc/temporal/schema/postgresql/v12/$folder/versioned"
}

schema temporal temporal
schema temporal_visibility visibility
