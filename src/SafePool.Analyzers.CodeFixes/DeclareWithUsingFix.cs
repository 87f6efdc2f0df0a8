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
    private const string Name = "lease";

    private protected override (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node)
    {
        if (node.FirstAncestorOrSelf<StatementSyntax>() is not { Parent: BlockSyntax or GlobalStatementSyntax } statement)
        {
            return null;
        }

        return statement switch
        {
            LocalDeclarationStatementSyntax { Declaration.Variables: { Count: 1 } variables } declaration
                when declaration.UsingKeyword == default && variables[0].Initializer is { Value: var value } && IsLease(value, node) => Declare(declaration, Using(declaration)),
            ExpressionStatementSyntax { Expression: var expression } when Discarded(expression) is var value && IsLease(value, node) && !IsTaken(statement) => (statement, Keep(value, statement)),
            _ => null,
        };
    }

    /// <summary>Whether a value is what a rent gave: not a member of it, not a function that rents, not a task.</summary>
    private static bool IsLease(ExpressionSyntax value, SyntaxNode rent) => value switch
    {
        ParenthesizedExpressionSyntax parentheses => IsLease(parentheses.Expression, rent),
        ConditionalExpressionSyntax choice => IsLease(choice.WhenTrue, rent) || IsLease(choice.WhenFalse, rent),
        AwaitExpressionSyntax { Expression: InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax { Name.Identifier.ValueText: "ConfigureAwait", Expression: var awaited } } } => awaited == rent,
        AwaitExpressionSyntax { Expression: var awaited } => awaited == rent,
        InvocationExpressionSyntax call => call == rent && !IsAsynchronous(call) && !call.ArgumentList.Arguments.Any(argument => argument.RefKindKeyword.IsKind(SyntaxKind.OutKeyword)),
        _ => false,
    };

    private static bool IsAsynchronous(InvocationExpressionSyntax call)
        => call.Expression.DescendantNodesAndSelf().OfType<SimpleNameSyntax>().Last().Identifier.ValueText.EndsWith("Async", StringComparison.Ordinal);

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

    /// <summary>The value of <c>x;</c> or <c>_ = x;</c>.</summary>
    private static ExpressionSyntax Discarded(ExpressionSyntax expression)
        => expression is AssignmentExpressionSyntax { Left: IdentifierNameSyntax { Identifier.ValueText: "_" } } assignment ? assignment.Right : expression;

    /// <summary>Whether the name that the fix gives may stand for something else there.</summary>
    private static bool IsTaken(SyntaxNode statement)
        => (statement.FirstAncestorOrSelf<MemberDeclarationSyntax>(member => member is not GlobalStatementSyntax) ?? statement.SyntaxTree.GetRoot())
            .DescendantTokens().Any(token => token.IsKind(SyntaxKind.IdentifierToken) && token.ValueText == Name);

    private static StatementSyntax Keep(ExpressionSyntax value, StatementSyntax statement)
    {
        var isAwaited = value is AwaitExpressionSyntax;
        return ParseStatement($"{(isAwaited ? "await " : "")}using var {Name} = {value.WithoutTrivia()};").WithTriviaFrom(statement);
    }
}
