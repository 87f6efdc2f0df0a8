using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using static Microsoft.CodeAnalysis.CSharp.SyntaxFactory;

namespace SafePool.Analyzers.CodeFixes;

/// <summary>SFP0008: passes the token that is in scope.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp), Shared]
public sealed class PassTokenFix() : PoolCodeFix("SFP0008", "Pass the cancellation token")
{
    private protected override (SyntaxNode Old, SyntaxNode New)? Fix(SyntaxNode node)
    {
        if (node.FirstAncestorOrSelf<InvocationExpressionSyntax>() is not { } call || Token(call) is not { } token)
        {
            return null;
        }

        var arguments = call.ArgumentList.Arguments;
        var argument = Argument(IdentifierName(token));
        argument = arguments.Any(given => given.NameColon is not null) ? argument.WithNameColon(NameColon("cancellationToken").NormalizeWhitespace()) : argument;
        return (call, call.WithArgumentList(call.ArgumentList.WithArguments(arguments.Count == 0
            ? SingletonSeparatedList(argument)
            : arguments.Add(argument.WithLeadingTrivia(Space)))));
    }

    private static string? Token(SyntaxNode call)
        => call.Ancestors()
            .Select(ancestor => ancestor switch
            {
                BaseMethodDeclarationSyntax method => method.ParameterList,
                LocalFunctionStatementSyntax local => local.ParameterList,
                ParenthesizedLambdaExpressionSyntax lambda => lambda.ParameterList,
                AnonymousMethodExpressionSyntax anonymous => anonymous.ParameterList,
                _ => null,
            })
            .SelectMany(list => list?.Parameters ?? default)
            .FirstOrDefault(parameter => parameter.Type?.ToString() is "CancellationToken" or "System.Threading.CancellationToken")?.Identifier.ValueText;
}
