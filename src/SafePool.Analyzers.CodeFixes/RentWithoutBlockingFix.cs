using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using static Microsoft.CodeAnalysis.CSharp.SyntaxFactory;

namespace SafePool.Analyzers.CodeFixes;

/// <summary>SFP0007: awaits where that is allowed, and takes the synchronous method elsewhere.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp), Shared]
public sealed class RentWithoutBlockingFix() : PoolCodeFix("SFP0007", "Rent without blocking a thread of the thread pool")
{
    private protected override (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node)
    {
        var call = node.DescendantNodesAndSelf().OfType<InvocationExpressionSyntax>().LastOrDefault(Rents);
        if (call is null || node is not ExpressionSyntax old || IsWait(old))
        {
            return null;
        }

        if (IsAsync(node))
        {
            ExpressionSyntax awaited = AwaitExpression(Token(SyntaxKind.AwaitKeyword).WithTrailingTrivia(Space), call.WithoutTrivia());
            return (old, (old.Parent is MemberAccessExpressionSyntax ? ParenthesizedExpression(awaited) : awaited).WithTriviaFrom(old));
        }

        // The synchronous methods take no token: what is given must be seen to be options, or be nothing.
        var given = call.ArgumentList.Arguments;
        if (given.Count > 1 || (given.Count == 1 && given[0].Expression is not BaseObjectCreationExpressionSyntax))
        {
            return null;
        }

        var access = (MemberAccessExpressionSyntax)call.Expression;
        var name = access.Name.Identifier.ValueText;
        return (old, call.WithExpression(access.WithName(IdentifierName(name.Substring(0, name.Length - "Async".Length)))).WithTriviaFrom(old));
    }

    private static bool Rents(InvocationExpressionSyntax call)
        => call.Expression is MemberAccessExpressionSyntax { Name.Identifier.ValueText: "RentAsync" or "OpenConnectionAsync" };

    /// <summary>Wait gives nothing that could be returned: SFP0001 says so.</summary>
    private static bool IsWait(ExpressionSyntax expression)
        => expression is InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax { Name.Identifier.ValueText: "Wait" } };
}
