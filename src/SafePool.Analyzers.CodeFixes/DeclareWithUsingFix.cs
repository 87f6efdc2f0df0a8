using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using static Microsoft.CodeAnalysis.CSharp.SyntaxFactory;

namespace SafePool.Analyzers.CodeFixes;

/// <summary>SFP0001: makes a using declaration of the variable, and takes out the disposes that this makes superfluous.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp), Shared]
public sealed class DeclareWithUsingFix() : PoolCodeFix("SFP0001", "Declare it with 'using'")
{
    private protected override (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node)
    {
        if (node.FirstAncestorOrSelf<StatementSyntax>() is not { Parent: BlockSyntax or GlobalStatementSyntax } statement || IsOutArgument(node))
        {
            return null;
        }

        return statement switch
        {
            LocalDeclarationStatementSyntax { Declaration.Variables.Count: 1 } declaration when declaration.UsingKeyword == default => Declare(declaration, Using(declaration)),
            ExpressionStatementSyntax { Expression: var expression } when Discarded(expression, node) is { } value => (statement, Keep(value, statement)),
            _ => null,
        };
    }

    private static bool IsOutArgument(SyntaxNode node)
        => node.DescendantNodesAndSelf().OfType<ArgumentSyntax>().Any(argument => argument.RefKindKeyword.IsKind(SyntaxKind.OutKeyword));

    private static LocalDeclarationStatementSyntax Using(LocalDeclarationStatementSyntax declaration)
    {
        var bare = declaration.WithoutLeadingTrivia().WithUsingKeyword(Token(SyntaxKind.UsingKeyword).WithTrailingTrivia(Space));
        bare = IsAsync(declaration) ? bare.WithAwaitKeyword(Token(SyntaxKind.AwaitKeyword).WithTrailingTrivia(Space)) : bare;
        return bare.WithLeadingTrivia(declaration.GetLeadingTrivia());
    }

    /// <summary>With the calls of its Dispose in the same block taken out.</summary>
    private static (SyntaxNode Old, SyntaxNode New) Declare(LocalDeclarationStatementSyntax old, LocalDeclarationStatementSyntax declaration)
    {
        var name = old.Declaration.Variables[0].Identifier.ValueText;
        if (old.Parent is not BlockSyntax block || !block.Statements.Any(statement => Disposes(statement, name)))
        {
            return (old, declaration);
        }

        var statements = block.Statements.Where(statement => !Disposes(statement, name)).Select(statement => statement == old ? declaration : statement);
        return (block, block.WithStatements(List(statements)));
    }

    private static bool Disposes(StatementSyntax statement, string name)
        => statement is ExpressionStatementSyntax { Expression: var expression }
            && (expression is AwaitExpressionSyntax awaited ? awaited.Expression : expression) is InvocationExpressionSyntax
            {
                Expression: MemberAccessExpressionSyntax { Expression: IdentifierNameSyntax variable, Name.Identifier.ValueText: "Dispose" or "DisposeAsync" or "Close" or "CloseAsync" },
            }
            && variable.Identifier.ValueText == name;

    /// <summary>The value of <c>x;</c> or <c>_ = x;</c>, where the rent is all of it.</summary>
    private static ExpressionSyntax? Discarded(ExpressionSyntax expression, SyntaxNode rent)
    {
        var value = expression is AssignmentExpressionSyntax { Left: IdentifierNameSyntax { Identifier.ValueText: "_" } } assignment ? assignment.Right : expression;
        var call = value is AwaitExpressionSyntax awaited ? awaited.Expression : value;
        return call.Span.Contains(rent.Span) && (value is AwaitExpressionSyntax || call == rent) ? value : null;
    }

    private static StatementSyntax Keep(ExpressionSyntax value, StatementSyntax statement)
    {
        var isAwaited = value is AwaitExpressionSyntax;
        return ParseStatement($"{(isAwaited ? "await " : "")}using var lease = {value.WithoutTrivia()};").WithTriviaFrom(statement);
    }
}
