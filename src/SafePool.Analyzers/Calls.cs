using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>Looks at calls by their names before it asks what they mean: only methods that rent are worth an operation tree, and few do.</summary>
internal static class Calls
{
    public static void OnRent(this CompilationStartAnalysisContext context, Action<SyntaxNodeAnalysisContext, IInvocationOperation> look)
        => context.OnCall(static (name, _) => name is "RentAsync" or "Rent" or "TryRent" or "OpenConnectionAsync" or "OpenConnection", look);

    public static void OnCall(
        this CompilationStartAnalysisContext context, Func<string, InvocationExpressionSyntax, bool> isMeant, Action<SyntaxNodeAnalysisContext, IInvocationOperation> look)
        => context.RegisterSyntaxNodeAction(
            node =>
            {
                var call = (InvocationExpressionSyntax)node.Node;
                if (Name(call.Expression) is { } name && isMeant(name, call) && node.SemanticModel.GetOperation(call, node.CancellationToken) is IInvocationOperation operation)
                {
                    look(node, operation);
                }
            },
            SyntaxKind.InvocationExpression);

    private static string? Name(ExpressionSyntax called) => called switch
    {
        MemberAccessExpressionSyntax member => member.Name.Identifier.ValueText,
        MemberBindingExpressionSyntax member => member.Name.Identifier.ValueText,
        SimpleNameSyntax name => name.Identifier.ValueText,
        _ => null,
    };
}
