"""Metrics, alarms and a dashboard: which callers are refused, and what is near its limit."""

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.compute import Compute
from components.data import Data
from components.edge_protection import EdgeProtection
from components.monitoring.alarms import Alarm, Names, alarms
from components.monitoring.dashboard import dashboard
from components.monitoring.log_metrics import LOG_METRICS
from settings.schema import Settings


class Monitoring(Component):
    """Metrics from the access log, alarms that notify one topic, and a dashboard."""

    topic_arn: pulumi.Output[str]
    dashboard_url: pulumi.Output[str] | None

    def __init__(
        self,
        settings: Settings,
        region: str,
        edge: EdgeProtection,
        compute: Compute,
        data: Data,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(settings, opts)
        # Not encrypted with AWS's key for SNS: CloudWatch may not use that key, so no alarm would
        # arrive.
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        topic = aws.sns.Topic(f"{self.name}-alarms", opts=self.child())
        self.topic_arn = topic.arn
        for address in settings.monitoring.alarm_emails:
            aws.sns.TopicSubscription(
                f"{self.name}-alarms-to-{address}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=self.child(),
            )
        names = Names(
            namespace=f"{settings.project}/{settings.stack}",
            web_acl=settings.label if settings.waf.enabled else None,
            api=edge.api_name,
            stage=edge.stage_name,
            function=compute.function_name,
            table=data.table_name,
            region=region,
        )
        for metric in LOG_METRICS:
            aws.cloudwatch.LogMetricFilter(
                f"{self.name}-{metric.name}",
                log_group_name=edge.access_log_group_name,
                pattern=metric.pattern,
                metric_transformation={
                    "namespace": names.namespace,
                    "name": metric.metric,
                    "value": "1",
                    "unit": "Count",
                    # CloudWatch takes a default value only without dimensions.
                    "default_value": None if metric.dimensions else "0",
                    "dimensions": metric.dimensions,
                },
                opts=self.child(),
            )
        alarm_arns = [self._alarm(alarm) for alarm in alarms(settings, names)]
        self.dashboard_url = None
        if settings.monitoring.dashboard:
            made = aws.cloudwatch.Dashboard(
                f"{self.name}-dashboard",
                dashboard_name=settings.label,
                dashboard_body=pulumi.Output.json_dumps(dashboard(settings, names, alarm_arns)),
                opts=self.child(),
            )
            self.dashboard_url = pulumi.Output.concat(
                f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}",
                *("#dashboards/dashboard/", made.dashboard_name),
            )
        self.register("topic_arn", "dashboard_url")

    def _alarm(self, alarm: Alarm) -> pulumi.Output[str]:
        settings = self.settings
        percentile = alarm.statistic.startswith("p")
        return aws.cloudwatch.MetricAlarm(
            f"{self.name}-{alarm.name}",
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
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            opts=self.child(),
        ).arn
