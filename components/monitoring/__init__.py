"""Metrics, alarms and a dashboard: which callers are refused, and what is near its limit."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.monitoring.alarms import Alarm, Names, alarms
from components.monitoring.dashboard import dashboard
from components.monitoring.log_metrics import log_metrics
from settings.schema import Settings


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """The thresholds, and the names of what is watched."""

    settings: Settings
    api_name: pulumi.Input[str]
    stage_name: pulumi.Input[str]
    access_log_group_name: pulumi.Input[str]
    web_acl_metric_name: str | None
    function_name: pulumi.Input[str]
    table_name: pulumi.Input[str]


class Monitoring(Component):
    """Metrics from the access log, alarms that notify one topic, and a dashboard."""

    topic_arn: pulumi.Output[str]
    dashboard_url: pulumi.Output[str] | None

    def __init__(
        self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        region = aws.get_region_output(opts=pulumi.InvokeOutputOptions(parent=self)).region
        # Not encrypted with AWS's key for SNS: CloudWatch may not use that key, so no alarm would
        # arrive.
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        topic = aws.sns.Topic(f"{name}-alarms", opts=self.child())
        for address in settings.monitoring.alarm_emails:
            aws.sns.TopicSubscription(
                f"{name}-alarms-to-{address}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=self.child(),
            )
        names = Names(
            namespace=f"{settings.project}/{settings.stack}",
            web_acl=args.web_acl_metric_name,
            api=args.api_name,
            stage=args.stage_name,
            function=args.function_name,
            table=args.table_name,
            region=region,
        )
        for metric in log_metrics():
            aws.cloudwatch.LogMetricFilter(
                f"{name}-{metric.name}",
                log_group_name=args.access_log_group_name,
                pattern=metric.pattern,
                metric_transformation={
                    "namespace": names.namespace,
                    "name": metric.metric,
                    "value": "1",
                    "unit": "Count",
                    # CloudWatch takes a default value only without dimensions.
                    "default_value": None if metric.dimensions else "0",
                    "dimensions": metric.dimensions or None,
                },
                opts=self.child(),
            )
        alarm_arns = [
            self._alarm(name, alarm, topic.arn, settings) for alarm in alarms(settings, names)
        ]
        self.topic_arn = topic.arn
        self.dashboard_url = None
        if settings.monitoring.dashboard:
            made = aws.cloudwatch.Dashboard(
                f"{name}-dashboard",
                dashboard_name=settings.label,
                dashboard_body=pulumi.Output.json_dumps(dashboard(settings, names, alarm_arns)),
                opts=self.child(),
            )
            self.dashboard_url = pulumi.Output.format(
                "https://{0}.console.aws.amazon.com/cloudwatch/home?region={0}"
                "#dashboards/dashboard/{1}",
                region,
                made.dashboard_name,
            )
        self.register_outputs({"topicArn": self.topic_arn, "dashboardUrl": self.dashboard_url})

    def _alarm(
        self, name: str, alarm: Alarm, topic_arn: pulumi.Output[str], settings: Settings
    ) -> pulumi.Output[str]:
        percentile = alarm.statistic.startswith("p")
        return aws.cloudwatch.MetricAlarm(
            f"{name}-{alarm.name}",
            alarm_description=f"{settings.project}, stack {settings.stack}: {alarm.description}",
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=alarm.dimensions or None,
            statistic=None if percentile else alarm.statistic,
            extended_statistic=alarm.statistic if percentile else None,
            period=300,
            evaluation_periods=alarm.periods,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.threshold,
            # Most of these metrics have data only while there is something to count.
            treat_missing_data="notBreaching",
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            opts=self.child(),
        ).arn
