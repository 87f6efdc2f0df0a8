using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using static Microsoft.CodeAnalysis.CSharp.SyntaxFactory;

namespace SafePool.Analyzers.CodeFixes;

/// <summary>SFP0010: cancels the command that the reader came from, before the loop is left.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp), Shared]
public sealed class CancelBeforeFix() : PoolCodeFix("SFP0010", "Cancel the command before")
{
    private protected override (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node)
    {
        if (node.FirstAncestorOrSelf<StatementSyntax>() is not { } leaving || Command(leaving) is not { } command)
        {
            return null;
        }

        // A result is read from the reader before it is cancelled, so what is returned must not be computed after.
        if (leaving is ReturnStatementSyntax { Expression: { } value } && value.DescendantNodesAndSelf().Any(part => part is InvocationExpressionSyntax or ElementAccessExpressionSyntax or AwaitExpressionSyntax))
        {
            return null;
        }

        var cancel = ParseStatement($"{command}.Cancel();");
        return leaving.Parent is BlockSyntax block
            ? (block, block.WithStatements(block.Statements.Insert(
                block.Statements.IndexOf(leaving), cancel.WithLeadingTrivia(leaving.GetLeadingTrivia()).WithTrailingTrivia(leaving.GetTrailingTrivia()))))
            : (leaving, ParseStatement($"{{ {cancel} {leaving.WithoutTrivia()} }}").WithTriviaFrom(leaving));
    }

    /// <summary>The variable in <c>var reader = await command.ExecuteReaderAsync()</c> of the loop around.</summary>
    private static string? Command(SyntaxNode leaving)
    {
        var loop = leaving.Ancestors().OfType<WhileStatementSyntax>().FirstOrDefault();
        var reader = loop?.Condition.DescendantNodes().OfType<MemberAccessExpressionSyntax>()
            .FirstOrDefault(access => access.Name.Identifier.ValueText is "Read" or "ReadAsync")?.Expression.ToString();
        return loop?.Ancestors().SelectMany(ancestor => ancestor.DescendantNodes().OfType<VariableDeclaratorSyntax>())
            .FirstOrDefault(variable => variable.Identifier.ValueText == reader)?
            .DescendantNodes().OfType<MemberAccessExpressionSyntax>()
            .FirstOrDefault(access => access.Name.Identifier.ValueText is "ExecuteReader" or "ExecuteReaderAsync" && access.Expression is IdentifierNameSyntax)?
            .Expression.ToString();
    }
}
