# What production promises, on a mocked provider: `terraform test`. No account, no network.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:us-east-1:111122223333:certificate/1"
      domain_validation_options = [{
        domain_name           = "voice.example.com"
        resource_record_name  = "_1.voice.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_2.acm-validations.aws"
      }]
    }
  }
  mock_resource "aws_acm_certificate_validation" {
    defaults = { certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/voice/1", arn_suffix = "app/voice/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/voice/1", arn_suffix = "targetgroup/voice/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:listener/app/voice/1/2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/voice" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:111122223333:alarms" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:us-east-1:111122223333:cluster/voice-ai-production" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:us-east-1:111122223333:repository/voice-ai-production" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:voice-ai-production-AbCdEf" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:111122223333:log-group:voice" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:111122223333:task-definition/voice:1" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:us-east-1:111122223333:service/srv-1" }
  }
}

variables {
  host_name         = "voice.example.com"
  zone_id           = "Z1"
  image             = "111122223333.dkr.ecr.us-east-1.amazonaws.com/voice-ai-production@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  database_password = "mocked-password-of-the-test"
  temporal_cloud    = { address = "voice.a1b2c.tmprl.cloud:7233", namespace = "voice.a1b2c" }
  github_repository = "example/voice-ai"
  alarm_emails      = ["ops@example.com"]
  settings = {
    TWILIO_ACCOUNT_SID   = "AC00000000000000000000000000000000"
    TWILIO_PHONE_NUMBER  = "+15550100999"
    ALLOWED_DESTINATIONS = "+1"
  }
}

run "production" {
  # --- nothing is open but 443
  assert {
    condition     = [for rule in module.region.facts.ingress : rule.to if can(cidrhost(rule.from, 0))] == ["alb"]
    error_message = "Only the load balancer may be open to an address range."
  }
  assert {
    condition     = alltrue([for rule in module.region.facts.ingress : rule.port == 443 && rule.until == 443 if can(cidrhost(rule.from, 0))])
    error_message = "Only port 443 may be open to the internet."
  }
  assert {
    condition     = alltrue([for rule in module.region.facts.ingress : rule.port == rule.until])
    error_message = "Each rule opens one port."
  }
  assert {
    condition     = join(",", sort([for rule in module.region.facts.ingress : rule.from if rule.to == "app"])) == "alb,app"
    error_message = "Only the load balancer and each other reach the app's tasks, although they have public addresses."
  }
  assert {
    condition     = join(",", sort([for rule in module.region.facts.ingress : rule.from if rule.to == "database"])) == "app,worker"
    error_message = "Only tasks reach PostgreSQL."
  }
  assert {
    condition     = length([for rule in module.region.facts.ingress : rule if rule.to == "worker"]) == 0
    error_message = "Nothing connects to a worker."
  }
  assert {
    condition     = module.region.facts.listener == { port = 443, protocol = "HTTPS", ssl_policy = "ELBSecurityPolicy-TLS13-1-2-2021-06" }
    error_message = "The load balancer listens on HTTPS alone, from TLS 1.2 on."
  }

  # --- secrets are never in the environment of a task definition
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : length(setintersection([for it in container.environment : it.name], [for it in container.secrets : it.name])) == 0])
    error_message = "No variable is both plain and secret."
  }
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : length([for it in container.environment : it.name if can(regex("TOKEN|PASSWORD|SECRET|KEY", it.name))]) == 0])
    error_message = "Nothing that is named like a secret is in an environment."
  }
  assert {
    condition     = toset([for it in module.region.facts.containers.app.secrets : it.name]) == toset(["API_KEYS", "GEMINI_API_KEY", "PGPASSWORD", "STREAM_TOKEN_SECRET", "TEMPORAL_API_KEY", "TEMPORAL_CODEC_KEY", "TWILIO_AUTH_TOKEN"])
    error_message = "All secrets of the settings come from Secrets Manager."
  }
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : alltrue([for it in container.secrets : it.valueFrom == "arn:aws:secretsmanager:us-east-1:111122223333:secret:voice-ai-production-AbCdEf:${it.name}::"])])
    error_message = "valueFrom names the secret and the key in it."
  }
  assert {
    condition     = !strcontains(jsonencode(module.region.facts.containers), "mocked-password-of-the-test")
    error_message = "PostgreSQL's password is in no task definition."
  }
  assert {
    condition     = [for it in module.region.facts.containers.app.environment : startswith(it.value, "postgresql+asyncpg://voice_ai@") && endswith(it.value, "?ssl=require") if it.name == "DATABASE_URL"] == [true]
    error_message = "DATABASE_URL has no password, and asks for TLS."
  }
  assert {
    condition     = [for it in module.region.facts.containers.app.environment : startswith(it.value, "rediss://") if it.name == "REDIS_URL"] == [true]
    error_message = "Valkey is asked by TLS."
  }

  # --- least privilege
  assert {
    condition     = join(",", sort(flatten([for it in module.region.facts.policies.app.Statement : it.Action]))) == "ecs:GetTaskProtection,ecs:UpdateTaskProtection"
    error_message = "The app's role may protect tasks, and nothing else."
  }
  assert {
    condition     = module.region.facts.policies.app.Statement[0].Resource == "arn:aws:ecs:us-east-1:111122223333:task/voice-ai-production/*"
    error_message = "It may protect tasks of its own cluster only."
  }
  assert {
    condition     = flatten([for it in module.region.facts.policies.execution.Statement : it.Action if it.Resource == "*"]) == ["ecr:GetAuthorizationToken"]
    error_message = "The execution role names its resources."
  }
  assert {
    condition     = alltrue([for it in flatten(concat([for s in module.region.facts.policies.execution.Statement : s.Action], [for s in module.region.facts.deploy.policy.Statement : s.Action])) : !strcontains(it, "*")])
    error_message = "No role has a wildcard for its actions."
  }
  assert {
    condition     = [for it in module.region.facts.policies.execution.Statement : it.Resource if it.Sid == "ReadSecret"] == ["arn:aws:secretsmanager:us-east-1:111122223333:secret:voice-ai-production-AbCdEf"]
    error_message = "ECS may read this one secret."
  }
  assert {
    condition     = module.region.facts.deploy.trust.Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:example/voice-ai:environment:production"
    error_message = "Only this repository's environment `production` may deploy."
  }
  assert {
    condition     = module.region.facts.deploy.trust.Statement[0].Action == "sts:AssumeRoleWithWebIdentity"
    error_message = "GitHub comes with a token, not with a key."
  }
  assert {
    condition     = [for it in module.region.facts.deploy.policy.Statement : it.Condition.StringEquals["iam:PassedToService"] if it.Sid == "HandRolesToTasks"] == ["ecs-tasks.amazonaws.com"]
    error_message = "A deploy hands roles to ECS tasks only."
  }

  # --- calls outlive deploys and scale-in
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : container.stopTimeout == 120])
    error_message = "A task has 120 s between SIGTERM and SIGKILL."
  }
  assert {
    condition     = module.region.facts.draining.seconds > 1800
    error_message = "A task that is taken out keeps its calls for longer than a call lasts by default."
  }
  assert {
    condition     = module.region.facts.draining.algorithm == "least_outstanding_requests"
    error_message = "New calls go to the task with the fewest."
  }
  assert {
    condition     = module.region.facts.draining.health_path == "/health/live"
    error_message = "A task whose database is away is not killed with its calls."
  }
  assert {
    condition     = module.region.facts.services.app.on == "FARGATE"
    error_message = "Tasks with calls never run on Spot."
  }
  assert {
    condition     = module.region.facts.services.app.min_healthy == 100 && module.region.facts.services.app.rolls_back
    error_message = "A deploy adds before it takes away, and is rolled back when new tasks do not start."
  }
  assert {
    condition     = module.region.facts.services.app.tasks == 2 && module.region.facts.services.worker.tasks == 2
    error_message = "Two tasks of each kind, in two zones."
  }
  assert {
    condition     = module.region.facts.services.app.load_balanced && !module.region.facts.services.worker.load_balanced
    error_message = "The load balancer knows the app, and not the worker."
  }

  # --- autoscaling follows live calls
  assert {
    condition     = module.region.facts.scaling.metric == "OccupiedPercent" && module.region.facts.scaling.statistic == "Average" && module.region.facts.scaling.target == 60
    error_message = "Autoscaling follows the share of places that calls take."
  }
  assert {
    condition     = [for it in module.region.facts.containers.app.environment : it.value if it.name == "CLOUDWATCH_NAMESPACE"] == [module.region.facts.scaling.namespace]
    error_message = "The app writes its metrics where autoscaling reads them."
  }
  assert {
    condition     = module.region.facts.scaling.min == 2 && module.region.facts.scaling.max == 6
    error_message = "Between two and six tasks."
  }

  # --- the tasks
  assert {
    condition     = { for kind, container in module.region.facts.containers : kind => container.command } == { app = ["serve", "--host", "0.0.0.0"], worker = ["worker"], migrate = ["migrate"] }
    error_message = "One image, three commands; migrations are a job of their own."
  }
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : container.readonlyRootFilesystem && container.user == "10001:10001"])
    error_message = "No task runs as root or writes to its root file system."
  }
  assert {
    condition     = alltrue([for kind, container in module.region.facts.containers : container.image == var.image])
    error_message = "All run the same image, by digest."
  }
  assert {
    condition     = alltrue([for kind, platform in module.region.facts.platforms : platform.processor == "ARM64"])
    error_message = "All run on Graviton."
  }
  assert {
    condition     = alltrue([for name, service in module.region.facts.services : !service.shell])
    error_message = "Nobody opens a shell in a task."
  }
  assert {
    condition     = { for it in module.region.facts.containers.worker.environment : it.name => it.value if startswith(it.name, "TEMPORAL_") } == { TEMPORAL_ADDRESS = "voice.a1b2c.tmprl.cloud:7233", TEMPORAL_NAMESPACE = "voice.a1b2c", TEMPORAL_TLS = "true" }
    error_message = "Temporal Cloud is the default."
  }
  assert {
    condition     = module.region.facts.repository == { tags = "IMMUTABLE", scans = true }
    error_message = "An image's tag never changes, and images are scanned."
  }

  # --- data
  assert {
    condition     = module.region.facts.database == { public = false, encrypted = true, deletable = false, backup_days = 7, forces_tls = true, replica = false }
    error_message = "PostgreSQL is private, encrypted, protected, backed up, and speaks TLS only."
  }
  assert {
    condition     = module.region.facts.cache == { at_rest = true, in_transit = true }
    error_message = "Valkey is encrypted."
  }

  # --- alarms
  assert {
    condition     = alltrue([for name, alarm in module.region.facts.alarms : alarm.notifies && length(alarm.says) > 40])
    error_message = "Each alarm is sent to somebody, and says what to look at."
  }
  assert {
    condition     = length(setsubtract(["no-healthy-task", "lines-nearly-full", "callers-turned-away", "calls-failed", "no-model", "event-loop-late", "process-broken", "database-storage"], keys(module.region.facts.alarms))) == 0
    error_message = "An alarm is missing."
  }
  assert {
    condition     = length(module.region.facts.alarms) == 11
    error_message = "The price table counts 11 alarms, and two of autoscaling's."
  }
  assert {
    condition     = alltrue([for group, days in module.region.facts.log_days : days == 30])
    error_message = "Logs are kept for 30 days, and not for ever."
  }
  assert {
    condition     = output.base_url == "https://voice.example.com"
    error_message = "BASE_URL is the host name, by HTTPS."
  }
}

run "self_hosted_temporal_is_reached_by_tasks_only" {
  state_key = "self_hosted"

  variables {
    temporal       = "self_hosted"
    temporal_cloud = null
  }

  assert {
    condition     = join(",", sort([for rule in module.region.facts.ingress : rule.from if rule.to == "temporal"])) == "app,worker"
    error_message = "Only tasks reach the Temporal server."
  }
  assert {
    condition     = { for it in module.region.facts.containers.worker.environment : it.name => it.value if it.name == "TEMPORAL_ADDRESS" } == { TEMPORAL_ADDRESS = "temporal.voice-ai-production.internal:7233" }
    error_message = "Tasks find it by its private name."
  }
  assert {
    condition     = toset(output.temporal_jobs.tasks) == toset(["voice-ai-production-temporal", "voice-ai-production-temporal-schema", "voice-ai-production-temporal-namespace"])
    error_message = "Its schema and its namespace are jobs."
  }
  assert {
    condition     = !contains([for it in module.region.facts.containers.app.secrets : it.name], "TEMPORAL_API_KEY")
    error_message = "It needs no key of Temporal Cloud."
  }
}

run "what_cannot_be_right_is_refused" {
  command = plan

  module {
    source = "../../../modules/region"
  }

  variables {
    name               = "voice-ai-production"
    mode               = "pilot_light"
    availability_zones = ["us-east-1a", "us-east-1b"]
    image              = "111122223333.dkr.ecr.us-east-1.amazonaws.com/voice-ai-production:latest"
    app                = { cpu = 512, memory = 1024, min = 2, max = 7, calls = 25 }
    settings = {
      TWILIO_ACCOUNT_SID   = "AC00000000000000000000000000000000"
      TWILIO_PHONE_NUMBER  = "+15550100999"
      ALLOWED_DESTINATIONS = "+1"
      TWILIO_AUTH_TOKEN    = "not here"
    }
  }

  # An image by its tag, a secret among the settings, more tasks than PostgreSQL has connections for,
  # a pilot light that follows no database.
  expect_failures = [var.image, var.settings, var.app, var.database_replica_of]
}
