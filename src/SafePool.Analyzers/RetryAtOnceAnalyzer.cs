using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0009: a loop that catches "there is no connection" and asks again without a pause.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class RetryAtOnceAnalyzer() : PoolAnalyzer(Rules.RetryAtOnce)
{
    private static readonly ImmutableHashSet<string> _pauses = ImmutableHashSet.Create("Delay", "Sleep", "Wait", "WaitAsync", "WaitForNextTickAsync", "WaitOne", "SpinOnce");

    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.RegisterSyntaxNodeAction(
            operation =>
            {
                if (((CatchClauseSyntax)operation.Node).Declaration is { } declaration
                    && declaration.Type.ToString().Contains("Pool")
                    && operation.SemanticModel.GetOperation(operation.Node, operation.CancellationToken) is ICatchClauseOperation handler
                    && handler.ExceptionType is { ContainingNamespace.Name: "SafePool", Name: "PoolExhaustedException" or "PoolRejectedException" or "PoolException" } type
                    && handler.Parent is ITryOperation @try
                    && @try.Body.Descendants().OfType<IInvocationOperation>().Any(types.IsRent)
                    && Loop(@try) is { } loop
                    && !Leaves(handler)
                    && !loop.Body.Descendants().OfType<IInvocationOperation>().Any(call => _pauses.Contains(call.TargetMethod.Name)))
                {
                    operation.ReportDiagnostic(Diagnostic.Create(Rules.RetryAtOnce, declaration.GetLocation(), type.Name));
                }
            },
            SyntaxKind.CatchClause);

    /// <summary>The loop that goes round when the handler has ended. One over a collection asks for something else each time.</summary>
    private static ILoopOperation? Loop(IOperation operation)
    {
        for (var parent = operation.Parent; parent is not (null or IAnonymousFunctionOperation or ILocalFunctionOperation); parent = parent.Parent)
        {
            if (parent is ILoopOperation loop)
            {
                return loop is IForEachLoopOperation ? null : loop;
            }
        }

        return null;
    }

    private static bool Leaves(ICatchClauseOperation handler)
        => handler.Handler.Operations.LastOrDefault() is IThrowOperation or IReturnOperation or IBranchOperation { BranchKind: BranchKind.Break }
            or IExpressionStatementOperation { Operation: IThrowOperation };
}
