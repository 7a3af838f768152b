"""What AWS answers: the attributes it adds to a resource, as far as the program uses them."""

import hashlib
from typing import Any, Final

ACCOUNT_ID: Final = "000000000000"
_ZONES: Final = "abcdef"


def looked_up(token: str, region: str) -> dict[str, Any]:
    """Return what AWS answers to a lookup of the program.

    Raises:
        NotImplementedError: when the answer is not known here.
    """
    match token:
        case "aws:index/getRegion:getRegion":
            return {"region": region, "id": region}
        case "aws:index/getCallerIdentity:getCallerIdentity":
            return {"accountId": ACCOUNT_ID, "id": ACCOUNT_ID}
        case "aws:index/getAvailabilityZones:getAvailabilityZones":
            return {"names": [region + letter for letter in _ZONES], "id": region}
    raise NotImplementedError(
        f"The program calls {token}. Add what AWS answers to tools/recorder/aws.py."
    )


def created(
    token: str,
    name: str,
    inputs: dict[str, Any],
    *,
    region: str,
    stack: str,
    base_url: str = "",
    salt: str = "",
) -> tuple[str, dict[str, Any]]:
    """Return the id and the outputs of a new resource: its inputs and what AWS adds to them.

    API keys of one stack and name always have the same value, so that a redeployment changes no
    client's key. Stages are paths below `base_url`. `salt` tells apart what is created again under
    the same name.
    """
    digest = hashlib.sha256(f"{salt}{token} {name}".encode()).hexdigest()
    physical = inputs.get("name") or f"{inputs.get('namePrefix', name + '-')}{digest[:7]}"
    service, _, kind = token.partition(":")[2].partition(":")[0].partition("/")
    identifier, where, path = physical, f"{region}:{ACCOUNT_ID}", f"{kind}/{physical}"
    added: dict[str, Any] = {"name": physical}
    match token:
        case "aws:dynamodb/table:Table":
            path = f"table/{physical}"
        case "aws:cloudwatch/logGroup:LogGroup":
            service, path = "logs", f"log-group:{physical}"
        case "aws:iam/role:Role":
            where, path = f":{ACCOUNT_ID}", f"role/{physical}"
        case "aws:lambda/function:Function":
            path, added["version"] = f"function:{physical}", "1"
        case "aws:lambda/alias:Alias":
            path = f"function:{inputs['functionName']}:{physical}"
        case "aws:apigateway/restApi:RestApi":
            identifier = digest[:10]
            where, path = f"{region}:", f"/restapis/{identifier}"
            added["executionArn"] = f"arn:aws:execute-api:{region}:{ACCOUNT_ID}:{identifier}"
        case "aws:apigateway/stage:Stage":
            where, path = (
                f"{region}:",
                f"/restapis/{inputs['restApi']}/stages/{inputs['stageName']}",
            )
            added["invokeUrl"] = f"{base_url}/{inputs['stageName']}"
        case "aws:apigateway/apiKey:ApiKey":
            secret = hashlib.sha256(f"sandbox key {stack} {name}".encode()).hexdigest()
            identifier, added["value"] = digest[:10], secret[:40]
        case "aws:apigateway/usagePlan:UsagePlan":
            identifier = digest[:6]
        case "aws:ec2/securityGroup:SecurityGroup":
            identifier = f"sg-{digest[:8]}"
        case "aws:ec2/vpcEndpoint:VpcEndpoint":
            added["prefixListId"] = f"pl-{digest[:8]}"
    arn = f"arn:aws:{service}:{where}:{path}"
    if kind in ("function", "alias"):
        functions = f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions"
        added["invokeArn"] = f"{functions}/{arn}/invocations"
    return identifier, {**inputs, "arn": arn, **added}
