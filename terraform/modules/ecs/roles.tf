# Two kinds of roles. The execution role is ECS's own, to start a task: pull the image, read the
# secret, write logs. A task role is what the code in the task may do at AWS.

locals {
  # A confused deputy in another account cannot use these roles.
  assumed_by_ecs = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-${local.region}-execution"
  assume_role_policy = local.assumed_by_ecs
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "PullImage"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:GetDownloadUrlForLayer",
        ]
        Resource = var.repository_arn
      },
      {
        # Has no resource to name.
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "ReadSecret"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = var.secret_arn
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in var.log_groups : "${group.arn}:*"]
      },
    ]
  })
}

# A role for each kind, even when it may do nothing: without one, a policy that is added for one
# kind would be for all.
resource "aws_iam_role" "task" {
  for_each           = local.commands
  name               = "${var.name}-${local.region}-${each.key}"
  assume_role_policy = local.assumed_by_ecs
}

# The app protects its own task while it carries calls (server/calls/task_protection.py). Its
# metrics need no permission: they are lines of its log.
resource "aws_iam_role_policy" "protect_task" {
  name = "protect-task"
  role = aws_iam_role.task["app"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "ProtectOwnTasks"
      Effect   = "Allow"
      Action   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
      Resource = "arn:aws:ecs:${local.region}:${local.account}:task/${var.name}/*"
    }]
  })
}
