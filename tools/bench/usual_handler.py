"""The usual way to write the function, which the benchmark compares ours with."""

import json
import os
from typing import Any

import boto3
from aws_xray_sdk.core import patch_all

patch_all()
client = boto3.client("dynamodb")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Store the record in the event's body."""
    record = json.loads(event["body"])
    client.put_item(
        TableName=os.environ["TABLE_NAME"],
        Item={
            "id": {"S": record["id"]},
            "title": {"S": record["title"]},
            "year": {"N": str(record["year"])},
        },
    )
    print(json.dumps({"message": "stored", "id": record["id"]}))
    return {"statusCode": 200, "body": json.dumps({"message": "Successfully inserted data!"})}
