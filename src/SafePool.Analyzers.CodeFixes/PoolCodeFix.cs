using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;

namespace SafePool.Analyzers.CodeFixes;

/// <summary>What all fixes have in common: one action for one place, and the same for all of a document, project or solution.</summary>
public abstract class PoolCodeFix : CodeFixProvider
{
    private readonly ImmutableArray<string> _fixed;
    private readonly string _title;

    private protected PoolCodeFix(string rule, string title) => (_fixed, _title) = (ImmutableArray.Create(rule), title);

    /// <inheritdoc/>
    public sealed override ImmutableArray<string> FixableDiagnosticIds => _fixed;

    /// <inheritdoc/>
    public sealed override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc/>
    public sealed override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        if (await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is not { } root)
        {
            return;
        }

        var node = root.FindNode(context.Span, getInnermostNodeForTie: true);
        if (Fix(node) is { } change)
        {
            context.RegisterCodeFix(
                CodeAction.Create(_title, _ => Task.FromResult(context.Document.WithSyntaxRoot(root.ReplaceNode(change.Old, change.New))), equivalenceKey: _title),
                context.Diagnostics);
        }
    }

    /// <summary>What to put in the place of what; null where there is no right answer.</summary>
    private protected abstract (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node);

    /// <summary>Whether an await may be written here.</summary>
    private protected static bool IsAsync(SyntaxNode node)
    {
        foreach (var ancestor in node.Ancestors())
        {
            switch (ancestor)
            {
                case Microsoft.CodeAnalysis.CSharp.Syntax.AnonymousFunctionExpressionSyntax function:
                    return function.AsyncKeyword != default;
                case Microsoft.CodeAnalysis.CSharp.Syntax.LocalFunctionStatementSyntax local:
                    return local.Modifiers.Any(Microsoft.CodeAnalysis.CSharp.SyntaxKind.AsyncKeyword);
                case Microsoft.CodeAnalysis.CSharp.Syntax.MethodDeclarationSyntax method:
                    return method.Modifiers.Any(Microsoft.CodeAnalysis.CSharp.SyntaxKind.AsyncKeyword);
                case Microsoft.CodeAnalysis.CSharp.Syntax.GlobalStatementSyntax:
                    return true;
            }
        }

        return false;
    }
}
